"""Indices against worked examples, and against a year of real hours recomputed on their own."""
