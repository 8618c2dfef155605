"""Tests of the notices about alarms."""
