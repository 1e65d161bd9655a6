"""What needs no network: the traditional pipeline, and segmentation by clustering."""
