from c_setuptools.sub._deep import half

__all__ = ["half"]
