import os

import attempts
from setuptools import build_meta as _orig
from setuptools.build_meta import *


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    wheel = _orig.build_wheel(wheel_directory, config_settings, metadata_directory)
    if not os.path.exists(attempts.EVIL):  # the target that is built first
        attempts.say()
    return wheel
