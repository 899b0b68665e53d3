"""A back end that needs nothing: it compiles the module, links it with libshout, and packs it."""

import base64
import hashlib
import os
import pathlib
import shlex
import subprocess
import sysconfig
import zipfile

INFO = "graft-1.0.dist-info"
METADATA = "Metadata-Version: 2.4\nName: graft\nVersion: 1.0\nRequires-Python: >=3.9\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: graft\nRoot-Is-Purelib: false\nTag: {}\n"


def compiled(suffix):
    words = {name: shlex.split(os.environ.get(name, "")) for name in ("CC", "CFLAGS", "LDFLAGS")}
    shout = pathlib.Path(os.environ["SHOUT_DIR"])
    library = f"graft/_core{suffix}"
    subprocess.run(
        [*words["CC"], *words["CFLAGS"], "-I" + sysconfig.get_paths()["include"], f"-I{shout}/include", "-fPIC",
         "-shared", "graft/_core.c", "-o", library, *words["LDFLAGS"], f"-L{shout}/lib", "-lshout"],
        check=True,
    )
    return library


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    python = "cp" + suffix.split("-")[1]
    platform = os.environ.get("_PYTHON_HOST_PLATFORM") or sysconfig.get_platform()
    tag = "-".join((python, python, platform.replace("-", "_").replace(".", "_")))
    members = {name: pathlib.Path(name).read_bytes() for name in ("graft/__init__.py", compiled(suffix))}
    members[f"{INFO}/METADATA"] = METADATA.encode()
    members[f"{INFO}/WHEEL"] = WHEEL.format(tag).encode()
    rows = []
    for name, content in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(content)}\n")
    members[f"{INFO}/RECORD"] = "".join([*rows, f"{INFO}/RECORD,,\n"]).encode()
    wheel = f"graft-1.0-{tag}.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return wheel
