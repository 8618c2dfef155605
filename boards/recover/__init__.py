"""Bring a board back, from the mildest means to the strongest, and show its pins."""
