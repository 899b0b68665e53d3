from setuptools import Extension, setup

setup(ext_modules=[Extension("fails_on_311._core", ["fails_on_311/_core.c"])])
