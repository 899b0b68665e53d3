from setuptools import Extension, setup

setup(ext_modules=[Extension("tested._core", ["tested/_core.c"])])
