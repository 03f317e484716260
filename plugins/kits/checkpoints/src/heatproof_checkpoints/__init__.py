"""Checkpoints of networks, read without executing anything."""
