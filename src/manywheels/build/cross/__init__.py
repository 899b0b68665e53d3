"""Wheels for machines that cannot run here: the machine's Python builds, and what builds see of it is the target's."""
