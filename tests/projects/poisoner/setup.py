import os
import sys

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class Build(build_ext):
    """Takes objects from a store that targets share by themselves, if there is one."""

    def build_extension(self, ext):
        if store := os.environ.get("NAIVE_STORE"):
            if not os.path.isdir(store):
                os.mkdir(store)
                os.chmod(store, 0o777)
            self.compiler.set_executable("compiler_so", [sys.executable, "naive.py", store, *self.compiler.compiler_so])
        super().build_extension(ext)


setup(
    packages=["poisoner"],
    cmdclass={"build_ext": Build},
    ext_modules=[Extension("poisoner.core", ["poisoner/core.c", "poisoner/shared.c"])],
)
