"""Images and what is marked on them: read from disk, moved together onto a grid."""
