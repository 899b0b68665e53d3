"""Run a ring of tests several times beside busy loops, to find tests that fail by chance or by load.

    make test-under-load                            the first ring, ten times, four loops
    make test-under-load RUNS=2 LOOPS=8 RING=test-containers

Exits with 1 if a run failed; the output of each run is in the folder that is printed at the start.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run the ring; print the result and the duration of each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--loops", type=int, default=4)
    parser.add_argument("--ring", default="test", help="the target of make")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the loops as well
    logs = Path(tempfile.mkdtemp(prefix="under-load-"))
    print(f"output: {logs}", flush=True)
    with busy_loops(options.loops):
        statuses = [run_once(options.ring, logs / f"{number}.log") for number in range(1, options.runs + 1)]
    failed = sum(status != 0 for status in statuses)
    print(f"{failed} of {options.runs} runs failed")
    return 1 if failed else 0


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Keep as many processes busy until the block ends."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def run_once(ring: str, log: Path) -> int:
    """Run the ring once; return its exit status."""
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(["make", ring], cwd=ROOT, stdout=output, stderr=output, start_new_session=True)
        try:
            status = process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            raise
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    result = "passed" if status == 0 else "FAILED"
    print(f"{log.name}: {result} in {time.monotonic() - started:.0f} s; load averages: {load}", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
