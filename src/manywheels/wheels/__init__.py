"""Wheels as files: strict readers, the manifest, the output folder."""
