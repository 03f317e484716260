"""Passes that several explainers share: rectified gradients, gradients at variants of an image, and sliding patches."""
