"""The compilers of a build: which ones, how they are called, and what they link for."""
