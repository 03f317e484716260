"""Prepares images exactly as a transform of torchvision or timm does."""
