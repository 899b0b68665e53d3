from two_wheels._core import answer

__all__ = ["answer"]
