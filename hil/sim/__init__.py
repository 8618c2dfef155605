"""Simulated parts: each speaks its datasheet's bytes on a pseudo terminal of its own."""
