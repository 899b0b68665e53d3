from poisoner.core import answer

__all__ = ["answer"]
