"""Gradients of which only positive parts pass activations, and gradients at many variants of an image."""
