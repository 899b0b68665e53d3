from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext


class BuildLibrary(build_ext):
    """The file is a library, not a module: its name carries no ABI."""

    def get_ext_filename(self, fullname):
        return fullname.replace(".", "/") + ".so"


class AnyPython(bdist_wheel):
    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[Extension("py3_none.libtwice", ["py3_none/twice.c"])],
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": AnyPython},
)
