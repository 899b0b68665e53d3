import os

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

import naive


class Build(build_ext):
    """Takes objects from a store that targets share by themselves, if there is one."""

    def build_extension(self, ext):
        if os.environ.get("NAIVE_STORE"):
            naive.share(self.compiler, os.environ["NAIVE_STORE"])
        super().build_extension(ext)


setup(
    packages=["poisoner"],
    cmdclass={"build_ext": Build},
    ext_modules=[Extension("poisoner.core", ["poisoner/core.c", "poisoner/shared.c"])],
)
