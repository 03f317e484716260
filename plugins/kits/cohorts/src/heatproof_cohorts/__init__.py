"""How published downloads are read: tables, folders of images, annotation files and splits by patient."""
