"""Gives the classifiers of a library classes, weights and a preparation."""
