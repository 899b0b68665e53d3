import json
import os

import packing
import setuptools


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    seen = json.dumps(probe(config_settings), indent=2, sort_keys=True)
    metadata = packing.METADATA.format("env-probe")
    return packing.packed(wheel_directory, "env_probe", metadata, {"env_probe/probe.json": seen.encode()})


def probe(config_settings):
    return {
        "config_settings": config_settings,
        "setuptools": setuptools.__version__,
        "environ": dict(os.environ),
        "uid": os.getuid(),
        "gid": os.getgid(),
        "groups": os.getgroups(),
        "cwd": os.getcwd(),
        "fds": open_files(),
        "pid": os.getpid(),
        "pgrp": os.getpgrp(),
        "sid": os.getsid(0),
    }


def open_files():
    """What each open file descriptor points at, by number; not the one that lists them, which is closed by then."""
    targets = {}
    for number in sorted(os.listdir("/proc/self/fd"), key=int):
        try:
            targets[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue
    return targets
