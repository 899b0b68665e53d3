"""The artifacts of GitHub's workflow runs."""
