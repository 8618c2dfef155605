"""Wires between the line and a board: pseudo terminals and sockets."""
