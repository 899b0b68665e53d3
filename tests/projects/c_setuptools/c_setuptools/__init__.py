from c_setuptools._core import header_file, source_file

__all__ = ["header_file", "source_file"]
