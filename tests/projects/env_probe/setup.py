from setuptools import Extension, setup

setup(ext_modules=[Extension("env_probe._core", ["env_probe/_core.c"])])
