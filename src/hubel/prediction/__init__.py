"""What a trained network says: of an image, of every pixel of a large one, of objects in boxes; why; and elsewhere."""
