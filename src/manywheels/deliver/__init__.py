"""Deliver a sealed set: as GitHub's artifacts, to a package index."""
