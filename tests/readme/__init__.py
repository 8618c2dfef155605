"""The README, followed by a new user; an environment of its own, for it installs and takes time."""
