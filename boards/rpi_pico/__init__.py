"""Raspberry Pi Pico, a stock MicroPython board."""
