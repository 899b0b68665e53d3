from setuptools import Extension, setup

setup(ext_modules=[Extension("spam._spam", sources=["spam/_spam.c"])])
