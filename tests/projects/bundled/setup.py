"""A C library of its own, made by make, two sources beside the module, and one that sees Python."""

from setuptools import Extension, setup

setup(
    packages=["bundled"],
    ext_modules=[
        Extension(
            "bundled.core", ["bundled/core.c", "direct/five.c", "direct/six.c"],
            extra_objects=["lib/libbundled.a"], extra_compile_args=["-g0"],
        )
    ],
)
