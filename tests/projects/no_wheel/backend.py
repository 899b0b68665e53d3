import sys


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return f"no_wheel-1.0-{python}-{python}-linux_x86_64.whl"
