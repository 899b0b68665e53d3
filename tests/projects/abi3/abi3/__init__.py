from abi3._core import answer

__all__ = ["answer"]
