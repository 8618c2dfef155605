"""A node watched live: its values as a chart, and the frames of its bus in words."""
