import base64
import hashlib
import zipfile
from pathlib import Path

from setuptools import build_meta as _orig
from setuptools.build_meta import *

INFO = "lying_tag-1.0.dist-info"


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = _orig.build_wheel(wheel_directory, config_settings, metadata_directory)
    path = Path(wheel_directory, name)
    with zipfile.ZipFile(path) as wheel:
        files = {info: wheel.read(info) for info in wheel.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        record = ""
        for info, data in files.items():
            if info.filename == f"{INFO}/RECORD":
                continue
            if info.filename == f"{INFO}/WHEEL":
                lines = data.decode().splitlines()
                lines = ["Tag: cp38-cp38-linux_x86_64" if line.startswith("Tag:") else line for line in lines]
                data = "\n".join(lines).encode() + b"\n"
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record += f"{info.filename},sha256={digest},{len(data)}\n"
            wheel.writestr(info, data)
        wheel.writestr(f"{INFO}/RECORD", record + f"{INFO}/RECORD,,\n")
    return name
