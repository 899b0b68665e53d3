"""Importing a wheel's modules: which there are, in this machine's interpreters or in a container."""
