"""Fundus photographs: their preparation, and networks that grade them."""
