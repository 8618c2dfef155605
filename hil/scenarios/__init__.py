"""Scenarios that run alike on every engine: ``pytest hil/`` or ``tianfu-hil run``."""
