"""The command line, GitHub's action and GitLab's jobs, and one module for each command."""
