from setuptools import Extension, setup

setup(ext_modules=[Extension("scm._core", ["scm/_core.c"])])
