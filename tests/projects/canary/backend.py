import attempts
from setuptools import build_meta as _orig
from setuptools.build_meta import *


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    attempts.say("back end")
    attempts.say_commands()
    wheel = _orig.build_wheel(wheel_directory, config_settings, metadata_directory)
    attempts.plant()
    attempts.leave_daemon()
    return wheel
