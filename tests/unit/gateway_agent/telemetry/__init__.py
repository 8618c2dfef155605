"""Tests of the metrics that a gateway sends by itself."""
