"""Build, repair, prove and publish a project's Linux wheels for every CPython, side by side."""

__version__ = "0.1.0"
