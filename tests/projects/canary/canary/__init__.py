"""The canary: what it holds is the same for every interpreter."""

from canary._core import answer

__all__ = ["answer"]
