"""Registers smoothgrad."""
