from abi3_undeclared._core import answer

__all__ = ["answer"]
