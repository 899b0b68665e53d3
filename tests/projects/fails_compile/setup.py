from setuptools import Extension, setup

names = [f"part_{number:02}" for number in range(1, 31)]
names.insert(15, "broken")

setup(ext_modules=[Extension(f"fails_compile.{name}", [f"fails_compile/{name}.c"]) for name in names])
