from setuptools import Extension, setup

setup(ext_modules=[Extension("new_symbol._core", ["new_symbol/_core.c"])])
