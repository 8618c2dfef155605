"""Labels: made of proof alone, and read back by other readers than ours."""
