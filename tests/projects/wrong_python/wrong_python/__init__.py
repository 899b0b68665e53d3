from wrong_python._core import answer

__all__ = ["answer"]
