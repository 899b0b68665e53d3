"""Import a wheel's modules, on this machine or in a container."""
