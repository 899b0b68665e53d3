"""A back end that needs nothing: it compiles the module and packs it, in a tenth of the time that setuptools takes.

Other projects have a link to it; `name` is theirs, and `others` are further members.
"""

import base64
import hashlib
import os
import pathlib
import shlex
import subprocess
import sysconfig
import zipfile

METADATA = """\
Metadata-Version: 2.4
Name: {}
Version: 1.0
Requires-Python: >=3.9
"""
EXTRA = """\
Provides-Extra: ini
Requires-Dist: iniconfig; extra == "ini"
"""
WHEEL = """\
Wheel-Version: 1.0
Generator: tested
Root-Is-Purelib: false
Tag: {}
"""


def tag(suffix):
    """Return the tag for a suffix: `.cpython-312-x86_64-linux-gnu.so`, `.pypy311-pp73-x86_64-linux-gnu.so`."""
    implementation, version, *_ = suffix.strip(".").split("-")
    python = "cp" + version.rstrip("t")
    abi = "cp" + version
    if implementation.startswith("pypy"):
        python, abi = implementation.replace("pypy", "pp"), f"{implementation}_{version}"
    platform = os.environ.get("_PYTHON_HOST_PLATFORM") or sysconfig.get_platform()
    return "-".join((python, abi, platform.replace("-", "_").replace(".", "_")))


def compiled(suffix, name="tested"):
    words = {name: shlex.split(os.environ.get(name, "")) for name in ("CC", "CFLAGS", "LDFLAGS")}
    compiler = words["CC"] or shlex.split(sysconfig.get_config_var("CC") or "cc")
    library = f"{name}/_core{suffix}"
    include = "-I" + sysconfig.get_paths()["include"]
    subprocess.run(
        [*compiler, *words["CFLAGS"], include, "-fPIC", "-shared", f"{name}/_core.c", "-o", library, *words["LDFLAGS"]],
        check=True,
    )
    return library


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return packed(wheel_directory, "tested", METADATA.format("tested") + EXTRA)


def packed(folder, name, metadata, others=None):
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    members = {member: pathlib.Path(member).read_bytes() for member in (f"{name}/__init__.py", compiled(suffix, name))}
    members.update(others or {})
    info = f"{name}-1.0.dist-info"
    members[f"{info}/METADATA"] = metadata.encode()
    members[f"{info}/WHEEL"] = WHEEL.format(tag(suffix)).encode()
    rows = []
    for member, content in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{member},sha256={digest},{len(content)}\n")
    members[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"]).encode()
    wheel = f"{name}-1.0-{tag(suffix)}.whl"
    with zipfile.ZipFile(pathlib.Path(folder) / wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return wheel
