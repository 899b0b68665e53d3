from setuptools import Extension, setup

setup(ext_modules=[Extension("asks_too_much._core", ["asks_too_much/_core.c"])])
