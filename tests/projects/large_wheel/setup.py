import os
from pathlib import Path

from setuptools import Extension, setup

Path(__file__).with_name("large_wheel").joinpath("large.bin").write_bytes(os.urandom(8 << 20))
setup(ext_modules=[Extension("large_wheel._core", ["large_wheel/_core.c"])])
