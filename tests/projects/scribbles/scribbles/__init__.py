from scribbles._core import answer

__all__ = ["answer"]
