import subprocess
import sys
from pathlib import Path

from setuptools import build_meta as _orig
from setuptools.build_meta import *


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = _orig.build_wheel(wheel_directory, config_settings, metadata_directory)
    second = [sys.executable, "-m", "wheel", "tags", "--build", "2", str(Path(wheel_directory, name))]
    subprocess.run(second, check=True)
    return name
