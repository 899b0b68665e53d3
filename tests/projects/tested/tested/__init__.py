from tested._core import answer

__all__ = ["answer"]
