from lying_tag._core import answer

__all__ = ["answer"]
