import ctypes
from pathlib import Path

_library = ctypes.CDLL(str(Path(__file__).with_name("libtwice.so")))
_library.twice.argtypes = [ctypes.c_long]
_library.twice.restype = ctypes.c_long


def twice(number):
    return _library.twice(number)
