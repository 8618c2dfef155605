"""The rows of the table of errors, a file for each subject; ``errors.py`` is the whole table."""
