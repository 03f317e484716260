"""Registers vgg16."""
