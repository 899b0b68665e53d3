from asks_too_much._core import answer

__all__ = ["answer"]
