from cpp_cmake._core import caught, exists, refuse, suffix, total

__all__ = ["caught", "exists", "refuse", "suffix", "total"]
