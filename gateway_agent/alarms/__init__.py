"""Alarms: rules about values and about the gateway itself, in the states of ISA-18.2."""
