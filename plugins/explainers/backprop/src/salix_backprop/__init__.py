"""Registers backprop."""
