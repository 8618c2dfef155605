"""Makes ``pytest hil/`` know the bench's options, markers and fixtures."""

pytest_plugins = ["hil.plugin"]
