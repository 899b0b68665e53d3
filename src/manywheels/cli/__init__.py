"""The command line, GitHub's action, GitLab's jobs, and one module per command."""
