import sys
import sysconfig

from setuptools import Extension, setup

FLOOR = (3, 10)

extension = Extension("abi3_undeclared._core", ["abi3_undeclared/_core.c"])
options = {}
if sys.version_info >= FLOOR and not sysconfig.get_config_var("Py_GIL_DISABLED"):
    major, minor = FLOOR
    extension.py_limited_api = True
    extension.define_macros.append(("Py_LIMITED_API", f"0x{major:02X}{minor:02X}0000"))
    options["bdist_wheel"] = {"py_limited_api": f"cp{major}{minor}"}

setup(ext_modules=[extension], options=options)
