"""Defines what training minimises: the interface of objectives and the record of a step."""
