"""The node application: boot, schedule, register bank, server, events, configuration."""
