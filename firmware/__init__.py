"""What runs on a node, under MicroPython."""
