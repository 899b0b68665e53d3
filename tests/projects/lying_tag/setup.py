from setuptools import Extension, setup

setup(ext_modules=[Extension("lying_tag._core", ["lying_tag/_core.c"])])
