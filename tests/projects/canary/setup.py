from setuptools import Extension, setup

setup(ext_modules=[Extension("canary._core", ["canary/_core.c"])])
