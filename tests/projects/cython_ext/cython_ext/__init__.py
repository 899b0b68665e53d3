from cython_ext._core import fib

__all__ = ["fib"]
