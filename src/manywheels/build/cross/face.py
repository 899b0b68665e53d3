"""The target's face for this machine's Python, in the processes of a cross build.

A copy is `_manywheels_face.py` in the virtual environment of the build, and a .pth file calls `put_on` when Python starts.
The variable MANYWHEELS_CROSS, which only the back end's processes have, names the facts (JSON, `files.CrossFiles.face`). This
file runs under every Python that is built for, and uses the standard library only.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys


def put_on():
    """Answer for the target from now on; without MANYWHEELS_CROSS, do nothing."""
    place = os.environ.get("MANYWHEELS_CROSS")
    if not place:
        return
    with open(place, encoding="utf-8") as file:
        facts = json.load(file)
    _change_sysconfig(facts)  # first: it reads the machine's variables by their real name
    _change_system(facts)
    changes = {"platform": _change_platform, "distutils.sysconfig": _change_distutils}
    for name in [name for name in changes if name in sys.modules]:
        changes.pop(name)(sys.modules[name], facts)
    sys.meta_path.insert(0, _Later(changes, facts))
    sys.cross_compiling = True  # as crossenv and cibuildwheel have it


def _change_system(facts):
    real = os.uname()
    release = os.uname_result((real.sysname, real.nodename, real.release, real.version, facts["machine"]))
    os.uname = lambda: release
    real_confstr, names = os.confstr, {"CS_GNU_LIBC_VERSION", os.confstr_names.get("CS_GNU_LIBC_VERSION")}

    def confstr(name):
        if name not in names:
            return real_confstr(name)
        if facts["libc"] == "musl":
            raise ValueError("unrecognized configuration name")
        return "glibc " + facts["libc_version"]

    os.confstr = confstr
    sys.implementation._multiarch = facts["multiarch"]
    # What is imported here was found with a list of its own.
    importlib.machinery.EXTENSION_SUFFIXES = [facts["variables"]["EXT_SUFFIX"], ".abi3.so", ".so"]


def _change_sysconfig(facts):
    import sysconfig

    variables = sysconfig.get_config_vars()  # the dictionary that the module itself uses
    variables.update(facts["variables"])
    name = os.path.splitext(os.path.basename(facts["data"]))[0]
    spec = importlib.util.spec_from_file_location(name, facts["data"])
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = facts["include"].replace("{", "{{").replace("}", "}}")
    for scheme, paths in sysconfig._INSTALL_SCHEMES.items():
        if not scheme.startswith("nt"):
            paths.update({key: folder for key in ("include", "platinclude") if key in paths})
    header = os.path.join(facts["include"], "pyconfig.h")
    sysconfig.get_config_h_filename = lambda: header
    sysconfig.get_platform = lambda: facts["platform"]


def _change_platform(platform, facts):
    size = "%dbit" % facts["bits"]
    libc = ("glibc", facts["libc_version"]) if facts["libc"] == "glibc" else ("", "")
    real_architecture, real_libc = platform.architecture, platform.libc_ver
    platform.architecture = lambda executable=sys.executable, bits="", linkage="": (
        (size, "ELF") if executable == sys.executable else real_architecture(executable, bits, linkage)
    )
    platform.libc_ver = lambda executable=None, *rest, **named: (
        real_libc(executable, *rest, **named) if executable and executable != sys.executable else libc
    )
    platform.processor = lambda: facts["machine"]


def _change_distutils(sysconfig, facts):
    """The standard library's, before Python 3.12; that of setuptools reads INCLUDEPY."""
    real = sysconfig.get_python_inc
    sysconfig.get_python_inc = lambda plat_specific=0, prefix=None: (
        facts["include"] if prefix is None else real(plat_specific, prefix)
    )


class _Later(importlib.abc.MetaPathFinder):
    """Changes modules when they are imported."""

    def __init__(self, changes, facts):
        self.changes, self.facts = changes, facts

    def find_spec(self, name, path=None, target=None):
        change = self.changes.pop(name, None)  # once: the finders below ask nobody
        if change is None:
            return None
        spec = importlib.util.find_spec(name)
        if spec is None or isinstance(spec.loader, (type, type(None))):
            return None
        real = spec.loader.exec_module

        def exec_module(module):
            real(module)
            change(module, self.facts)

        spec.loader.exec_module = exec_module
        return spec
