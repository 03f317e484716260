"""Defines inspectors, which look at a network and its features: their interface, their subject and their results."""
