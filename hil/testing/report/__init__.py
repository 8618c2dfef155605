"""Reports of a run: results as they come, and a page for people."""
