"""Render reStructuredText from a JSON string on standard input; write the fault as JSON, or null.

    python -m manywheels.verify.rendering_worker SECONDS

`SECONDS` limits the CPU time.
"""

from __future__ import annotations

import ctypes
import json
import resource
import signal
import sys
from typing import Final

from manywheels.verify.rendering import fault_in_rst

_MEMORY: Final = 2 << 30  # bytes; two megabytes of text need half of it

_PR_SET_PDEATHSIG: Final = 1

if __name__ == "__main__":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # end with the verification
    resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[1]), int(sys.argv[1])))
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    print(json.dumps(fault_in_rst(json.load(sys.stdin))))
