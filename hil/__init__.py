"""The bench: emulated nodes, parts and lines. Nothing imports it."""
