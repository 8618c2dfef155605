"""Stand-ins for `robot --dryrun`."""
