import subprocess
import sys

COMPILER = "memory = b'x' * (1 << 30)"


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    print("compiling", flush=True)
    subprocess.run([sys.executable, "-c", COMPILER], check=True)
