"""Writes folders whole or not at all."""
