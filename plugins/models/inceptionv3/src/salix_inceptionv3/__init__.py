"""Registers inceptionv3."""
