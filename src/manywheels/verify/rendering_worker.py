"""Render reStructuredText, given as a JSON string on standard input; write the fault as JSON, or null."""

from __future__ import annotations

import json
import resource
import sys
from typing import Final

from manywheels.verify.rendering import PROCESSOR, fault_in_rst

_MEMORY: Final = 2 << 30  # bytes; two megabytes of text take half of it

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR, PROCESSOR))
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    print(json.dumps(fault_in_rst(json.load(sys.stdin))))
