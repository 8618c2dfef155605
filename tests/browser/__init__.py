"""The console in a headless Chromium: `tox run -e console`."""
