"""Images and annotations: reading them from disk, and moving them together onto a grid."""
