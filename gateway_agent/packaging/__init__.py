"""The Debian packages are made here: ``make deb`` (docs/operator.md, decision 0045)."""
