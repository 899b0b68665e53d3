import sys

LINE = "x" * 99 + "\n"
LINES_PER_CHUNK = 10_000  # 1 MB


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    for _ in range(25):
        sys.stdout.write(LINE * LINES_PER_CHUNK)
        sys.stderr.write(LINE * LINES_PER_CHUNK)
    raise RuntimeError("too much said")
