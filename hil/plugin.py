"""The name under which testers load the bench: ``pytest -p hil.plugin``."""

pytest_plugins = ["hil.testing.plugin"]
