"""Reads checkpoints of networks without executing their code."""
