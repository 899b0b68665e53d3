"""Where other people's code runs: processes, users, private copies of the source, containers."""
