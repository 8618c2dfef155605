"""Indices that platforms ask for, computed from recorded readings: air quality, class of water."""
