from abi3t._core import answer

__all__ = ["answer"]
