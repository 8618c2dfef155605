"""The board that is a process: MicroPython's unix port on ptys and files."""
