"""Superpixels: connected regions of similar colour."""
