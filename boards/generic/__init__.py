"""The board of everyone else's MicroPython: any with the standard ``machine`` module."""
