"""A package index: preflight, uploads, attestations, and what became of each file."""
