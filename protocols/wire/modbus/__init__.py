"""Modbus for both ends of the line, and all of it that a node runs."""
