"""Wire formats of tianfu-edge, sans-IO: bytes in, events out, time injected."""
