"""What pytest gets from the bench: its plugin, fixtures, evidence of a failure, reports."""
