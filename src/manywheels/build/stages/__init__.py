"""The stages of a target, one module for each."""
