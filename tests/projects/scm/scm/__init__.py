from scm._core import answer

__all__ = ["answer"]
