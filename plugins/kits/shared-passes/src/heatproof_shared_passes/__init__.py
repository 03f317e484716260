"""Passes that several explainers share: rectified gradients, and gradients at many variants of an image."""
