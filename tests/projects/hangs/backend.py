import os
import signal
import sys
import time


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the daemon inherits this, through exec too
    start_daemon(os.environ.get("HANG_MARKER", "manywheels-hang-child"))
    print("hanging", flush=True)
    while True:
        time.sleep(3600)


def start_daemon(marker):
    """Fork twice, with a new session in between: the daemon is no child and no group member of the build."""
    if child := os.fork():
        os.waitpid(child, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.execv(sys.executable, [sys.executable, "-c", "import time\nwhile True: time.sleep(3600)", marker])
