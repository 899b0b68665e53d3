"""setuptools does not know abi3t yet: the module's suffix and the wheel's tag are made here, as PEP 803 has them."""

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext


class BuildExt(build_ext):
    def get_ext_filename(self, fullname: str) -> str:
        return fullname.replace(".", "/") + ".abi3t.so"


class BdistWheel(bdist_wheel):
    def get_tag(self) -> tuple[str, str, str]:
        return "cp315", "abi3.abi3t", super().get_tag()[2]


setup(
    cmdclass={"build_ext": BuildExt, "bdist_wheel": BdistWheel},
    ext_modules=[
        Extension(
            "abi3t._core",
            ["abi3t/_core.c"],
            define_macros=[("Py_LIMITED_API", "0x030f0000"), ("Py_TARGET_ABI3T", "0x030f0000")],
        )
    ],
)
