"""Simulated parts: each sends the bytes of its datasheet on a wire of its own."""
