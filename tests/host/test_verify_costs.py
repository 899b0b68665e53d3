"""What verification costs: the promise of benchmarks/bench_verify.py, kept on one large wheel."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from scale import scaled
from unit.elfmaker import SharedObject, Symbol
from unit.helpers import write_wheel

ROOT = Path(__file__).resolve().parents[2]
SIZE = scaled(100) << 20
# A process of its own: a child's memory is counted from its parent's, and this one has a large wheel in it.
MEASURE = """
import json, sys
from pathlib import Path
from bench_verify import CHECKS_ALONE, LONGEST, MOST, run
wheel, folder = sys.argv[1], Path(sys.argv[2])
commands = {"auditwheel": ("-m", "auditwheel", "show"), "checks": ("-c", CHECKS_ALONE)}
runs = {name: [run((sys.executable, *command, wheel), folder) for _ in range(2)] for name, command in commands.items()}
seconds = {name: min(sample.processor for sample in samples) for name, samples in runs.items()}
memory = max(sample.memory for sample in runs["checks"])
times = seconds["checks"] / seconds["auditwheel"]
print(json.dumps({"times": times, "longest": LONGEST, "memory": memory, "most": MOST}))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of 90 MB (in CI), of which a quarter is code that compresses by half."""
    symbols = (Symbol(name="malloc", version="GLIBC_2.2.5"),)
    chance = random.Random(0)
    code = b"".join(chance.randbytes(32) + bytes(32) for _ in range(SIZE // 4 // 64))
    library = SharedObject(symbols=symbols).to_bytes() + code
    members = {"demo/_core.abi3.so": library, "demo/table.bin": chance.randbytes(SIZE * 3 // 4)}
    return write_wheel(tmp_path_factory.mktemp("large"), tags="cp312-cp312-manylinux_2_28_x86_64", members=members)


def test_a_large_wheel_takes_twice_auditwheels_time_at_most_and_little_memory(large: Path, tmp_path: Path) -> None:
    """The processor's seconds, the better of two runs: other processes have the machine, too."""
    assert large.stat().st_size > SIZE * 0.85
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "benchmarks")}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, large, tmp_path], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    costs = json.loads(done.stdout)
    assert costs["times"] <= costs["longest"], costs
    assert costs["memory"] < costs["most"], costs
