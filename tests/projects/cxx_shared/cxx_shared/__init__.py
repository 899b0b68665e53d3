from cxx_shared import _one, _two

__all__ = ["_one", "_two"]
