from setuptools import Extension, setup

setup(ext_modules=[Extension("two_wheels._core", ["two_wheels/_core.c"])])
