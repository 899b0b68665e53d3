"""Run project code: processes, users, private copies of the source, containers."""
