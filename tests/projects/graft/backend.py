"""Compiles the module, links it with libshout, and packs it as `tested` does."""

import os
import pathlib
import shlex
import subprocess
import sysconfig

import packing


def compiled(suffix, name):
    words = {name: shlex.split(os.environ.get(name, "")) for name in ("CC", "CFLAGS", "LDFLAGS")}
    shout = pathlib.Path(os.environ["SHOUT_DIR"])
    library = f"{name}/_core{suffix}"
    subprocess.run(
        [*words["CC"], *words["CFLAGS"], "-I" + sysconfig.get_paths()["include"], f"-I{shout}/include", "-fPIC",
         "-shared", f"{name}/_core.c", "-o", library, *words["LDFLAGS"], f"-L{shout}/lib", "-lshout"],
        check=True,
    )
    return library


packing.compiled = compiled


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return packing.packed(wheel_directory, "graft", packing.METADATA.format("graft"))
