"""pyboard v1.1, a stock MicroPython board."""
