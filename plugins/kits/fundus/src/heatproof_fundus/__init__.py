"""Prepares fundus photographs and builds networks that grade them."""
