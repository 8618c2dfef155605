"""The configuration of a running agent: which one is in force, and how it is changed."""
