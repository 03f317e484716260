"""Writes folders and files whole or not at all."""
