"""A wheel that needs a newer glibc than its tag says, made by a real compiler against a newer glibc."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "quay.io/pypa/manylinux_2_28_x86_64:2026.08.15-1"


@pytest.fixture(scope="module")
def of_the_newer_gcc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of `new_symbol`, tagged linux, as the gcc of the image's distribution makes it.

    The image's own `gcc` links against the policy's glibc, and the distribution's may be newer.
    """
    if os.uname().machine != "x86_64":
        pytest.skip("the image is for x86_64")
    source, output = ROOT / "tests/projects/new_symbol", tmp_path_factory.mktemp("newer-gcc")
    steps = (
        "cp -r /source /tmp/source\n"
        "CC=/usr/bin/gcc UV_CACHE_DIR=/tmp/cache uv build --quiet --wheel --no-create-gitignore --out-dir /dist"
        " --python /opt/python/cp312-cp312/bin/python /tmp/source"
    )
    subprocess.run(
        ["docker", "run", "--rm", "--user", f"{os.getuid()}:{os.getgid()}", "--env", "HOME=/tmp",
         "--volume", f"{source}:/source:ro", "--volume", f"{output}:/dist", IMAGE, "sh", "-euc", steps],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    (wheel,) = output.glob("*.whl")
    return wheel


@pytest.mark.docker
@pytest.mark.network
@pytest.mark.parametrize(
    "platform",
    [
        "manylinux_2_28_x86_64",
        "manylinux_2_30_x86_64",  # PEP 600 has a policy for each glibc, auditwheel's table only for some
    ],
)
def test_a_newer_symbol_is_refused_under_an_older_tag(of_the_newer_gcc: Path, tmp_path: Path, platform: str) -> None:
    copied = Path(shutil.copy(of_the_newer_gcc, tmp_path))
    command = [sys.executable, "-m", "wheel", "tags", "--remove", "--platform-tag", platform, str(copied)]
    retagged = tmp_path / subprocess.check_output(command, text=True).strip()

    done = subprocess.run(
        [sys.executable, "-m", "manywheels", "verify", "--format", "json", retagged],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=600,
    )  # fmt: skip
    (report,) = json.loads(done.stdout)["wheels"]
    if tuple(map(int, report["glibc"].split("."))) <= (2, 28):
        pytest.skip("this image has no compiler for a newer glibc")
    assert done.returncode == 3
    (finding,) = [finding for finding in report["findings"] if finding["code"] == "MW208"]
    assert finding["severity"] == "error"
    assert finding["member"].startswith("new_symbol/_core.")
    assert "`close_range@GLIBC_2.34`" in finding["message"]
    assert "`manylinux_2_34_x86_64`" in finding["remedy"]
