"""Engines start the real node firmware: today MicroPython's unix port."""
