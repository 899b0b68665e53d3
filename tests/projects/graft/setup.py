import os
from pathlib import Path

from setuptools import Extension, setup

SHOUT = Path(os.environ["SHOUT_DIR"])

setup(
    ext_modules=[
        Extension(
            "graft._core",
            ["graft/_core.c"],
            include_dirs=[str(SHOUT / "include")],
            library_dirs=[str(SHOUT / "lib")],
            libraries=["shout"],
        )
    ]
)
