from setuptools import Extension, setup

setup(ext_modules=[Extension("wrong_python._core", ["wrong_python/_core.c"])])
