"""Metrics that the gateway sends by itself: OTLP over HTTP."""
