from fails_on_311._core import answer

__all__ = ["answer"]
