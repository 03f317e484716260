"""Reads published downloads: tables, folders of images, annotation files and splits by patient."""
