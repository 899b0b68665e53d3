"""Where a sealed set goes: GitHub's artifacts, a package index."""
