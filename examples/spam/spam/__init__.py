"""Counts words, in C."""

from spam._spam import count_words

__all__ = ["count_words"]
