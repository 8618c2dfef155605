"""Tests of the console: a running agent and a plain HTTP client."""
