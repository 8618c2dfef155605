"""The receiving end: verify, commit, and only then sign a receipt."""
