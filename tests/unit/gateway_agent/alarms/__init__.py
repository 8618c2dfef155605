"""Alarms: states, rules, what outlives a restart."""
