"""Suites for renode-test, and what they need of Python."""
