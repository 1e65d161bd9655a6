"""Several networks, snapshots, dropout masks or views that answer together."""
