from pathlib import Path

from setuptools import Extension, setup

HERE = Path(__file__).resolve().parent
COMMON = {
    "include_dirs": [str(HERE / "include")],
    "depends": ["include/core.h"],
    "undef_macros": ["NDEBUG"],  # keep assert(), which stores __FILE__
}

setup(
    ext_modules=[
        Extension("c_setuptools._core", ["c_setuptools/_core.c"], **COMMON),
        Extension("c_setuptools.sub._deep", ["c_setuptools/sub/_deep.c"], **COMMON),
    ]
)
