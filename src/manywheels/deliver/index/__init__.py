"""A package index: what can be seen before, uploads, attestations, and what became of each file."""
