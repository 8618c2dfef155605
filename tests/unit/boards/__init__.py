"""Tests of boards: their descriptions, where sources come from, how images are built."""
