"""How published downloads are read: tables, folders of pictures, annotation files and splits by patient."""
