"""Which Pythons are found, in which order they count, and what is said of those that cannot be used or installed."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Timer

import pytest

from manywheels.cli import install_pythons
from manywheels.cli.install_pythons import install, install_in_image
from manywheels.core.cancellation import Cancellation
from manywheels.errors import Cancelled
from manywheels.plan.interpreters import _PROBE, Discovery, discover, tag_of
from manywheels.runtime import uv as uv_module
from unit.helpers import target


def program(path: Path, script: str) -> Path:
    """Put a shell script where a program is looked for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def python(path: Path, version: str, *, header: bool = True, machine: str = os.uname().machine) -> Path:
    """Put a program there that answers as a Python does that is asked what it is."""
    abi = "cp" + "".join(version.split(".")[:2])
    answer = json.dumps([abi, version, header, machine])
    return program(path, f"echo '{answer}'")


@pytest.fixture
def found(tmp_path: Path) -> Callable[[], Discovery]:
    """What is found where PATH is `bin`, and pyenv and uv have folders of their own; /opt/python is this machine's."""
    if Path("/opt/python").is_dir():
        pytest.skip("this image has Pythons of its own")
    environment = {
        "PATH": os.pathsep.join(
            map(str, (tmp_path / "pyenv/shims", "relative", tmp_path / "venv/bin", tmp_path / "bin"))
        ),
        "PYENV_ROOT": str(tmp_path / "pyenv"),
        "UV_PYTHON_INSTALL_DIR": str(tmp_path / "uv"),
    }
    return lambda: discover(environment)


def test_path_comes_before_pyenv_and_that_before_uv(tmp_path: Path, found: Callable[[], Discovery]) -> None:
    on_path = python(tmp_path / "bin/python3.12", "3.12.1")
    in_pyenv = [python(tmp_path / f"pyenv/versions/{version}/bin/python", version) for version in ("3.12.9", "3.11.10")]
    of_uv = [python(tmp_path / f"uv/cpython-{version}-linux/bin/python3", version) for version in ("3.11.2", "3.10.3")]
    assert [(known.abi, known.path, known.source) for known in found().interpreters] == [
        ("cp310", of_uv[1], "uv"), ("cp311", in_pyenv[1], "pyenv"), ("cp312", on_path, "PATH"),
    ]  # fmt: skip


def test_of_several_in_pyenv_the_newest_counts(tmp_path: Path, found: Callable[[], Discovery]) -> None:
    for version in ("3.12.9", "3.12.10"):
        python(tmp_path / f"pyenv/versions/{version}/bin/python", version)
    assert [known.version for known in found().interpreters] == ["3.12.10"]


def test_shims_virtual_environments_and_relative_folders_are_left_aside(
    tmp_path: Path, found: Callable[[], Discovery], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("pyenv/shims", "venv/bin", "relative"):
        python(tmp_path / folder / "python3.12", "3.12.1")
    (tmp_path / "venv/pyvenv.cfg").touch()
    assert found() == Discovery(interpreters=(), unusable=())


def test_a_python_without_headers_is_named_with_the_cure(tmp_path: Path, found: Callable[[], Discovery]) -> None:
    path = python(tmp_path / "bin/python3.12", "3.12.1", header=False)
    discovery = found()
    assert discovery.interpreters == ()
    (unusable,) = discovery.unusable
    assert unusable.path == path
    assert "no Python.h: install python3.12-dev (Debian, Ubuntu) or python3.12-devel" in unusable.reason


def test_one_without_headers_does_not_hide_another_that_can_build(
    tmp_path: Path, found: Callable[[], Discovery]
) -> None:
    python(tmp_path / "bin/python3.12", "3.12.1", header=False)
    good = python(tmp_path / "pyenv/versions/3.12.9/bin/python", "3.12.9")
    assert [known.path for known in found().interpreters] == [good]


@pytest.mark.parametrize("script", ["exit 1", "echo nonsense", "echo '[1]'", "kill -SEGV $$"])
def test_what_does_not_answer_is_no_python(tmp_path: Path, found: Callable[[], Discovery], script: str) -> None:
    program(tmp_path / "bin/python3.12", script)
    assert found() == Discovery(interpreters=(), unusable=())


def test_pythons_of_another_machine_are_left_aside(tmp_path: Path, found: Callable[[], Discovery]) -> None:
    python(tmp_path / "bin/python3.12", "3.12.1", machine="s390x")
    assert found() == Discovery(interpreters=(), unusable=())


@pytest.mark.parametrize(
    ("kernel", "bits", "arch"),
    [("x86_64", 64, "x86_64"), ("x86_64", 32, "i686"), ("i686", 32, "i686"), ("aarch64", 64, "aarch64"),
     ("aarch64", 32, "armv7l"), ("armv8l", 32, "armv7l"), ("armv7l", 32, "armv7l"), ("s390x", 64, "s390x")],
)  # fmt: skip
def test_a_32_bit_python_on_a_64_bit_kernel_is_known(kernel: str, bits: int, arch: str) -> None:
    """uname(2) tells the kernel's; the real question in this Python, which is told that it is another."""
    disguise = f"import os, sys; os.uname = lambda: ('', '', '', '', {kernel!r}); sys.maxsize = 2 ** {bits - 1} - 1\n"
    asked = subprocess.run([sys.executable, "-I", "-S", "-c", disguise + _PROBE], capture_output=True, check=True)
    abi, version, _, found = json.loads(asked.stdout)
    assert found == arch
    assert (abi, version) == (f"cp{sys.version_info[0]}{sys.version_info[1]}", platform.python_version())


@pytest.mark.parametrize(
    ("abi", "tag"),
    [("cp314", "cp314"), ("cp314t", "cp314t"), ("pypy311_pp73", "pp311"), ("pypy311_pp80", "pp311"),
     ("pypy39_pp73", "pp39"), ("graalpy250_312", "graalpy250_312")],
)  # fmt: skip
def test_an_interpreters_tag_is_that_of_its_targets(abi: str, tag: str) -> None:
    assert tag_of(abi) == tag


# --- uv installs ------------------------------------------------------------------------------------------------------


@pytest.fixture
def uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have a script in uv's place."""

    def be(script: str) -> None:
        path = program(tmp_path / "uv", script)
        monkeypatch.setattr(uv_module, "uv_program", lambda: str(path))

    return be


def test_uv_is_asked_for_each_by_itself(uv: Callable[[str], None], tmp_path: Path) -> None:
    uv(f'echo "$@" >>{tmp_path}/asked')
    assert install([target("cp312"), target("cp313t")], Cancellation()).failure is None
    assert sorted((tmp_path / "asked").read_text().splitlines()) == [
        "python install --no-bin --no-progress 3.12", "python install --no-bin --no-progress 3.13t",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "failure"),
    [
        ("echo 'error: no download' >&2; echo '  cause: dns error' >&2; exit 1", "dns error"),
        ("exit 2", "uv gave no reason"),
    ],
)
def test_why_uv_could_not(uv: Callable[[str], None], script: str, failure: str) -> None:
    uv(script)
    assert install([target("cp312")], Cancellation()).failure == failure


def test_why_the_real_uv_could_not(tmp_path: Path) -> None:
    mirror = f"file://{tmp_path}/absent"
    environment = {**os.environ, "UV_PYTHON_INSTALL_MIRROR": mirror, "UV_PYTHON_INSTALL_DIR": str(tmp_path / "pythons")}
    environment.pop("UV_PYTHON_DOWNLOADS", None)
    failure = install([target("cp312")], Cancellation(), environment).failure
    assert failure is not None
    assert str(tmp_path / "absent") in failure or "No such file" in failure


def test_an_image_is_asked_by_folder_one_after_another(tmp_path: Path) -> None:
    """As cibuildwheel asks; one that it does not know must not stop the others."""
    own = program(
        tmp_path / "manylinux-interpreters",
        f"""
echo "$@" >>{tmp_path}/asked
if [ "$2" = cp38-cp38 ]; then echo "no such thing" >&2; exit 1; fi""",
    )
    asked = [target("cp38"), target("cp313t"), target("pp311")]
    assert install_in_image(str(own), asked, Cancellation()).failure == "no such thing"
    assert (tmp_path / "asked").read_text().splitlines() == [
        "ensure cp38-cp38", "ensure cp313-cp313t", "ensure pp311-pypy311_pp80",
    ]  # fmt: skip


def test_uv_is_not_asked_where_it_must_not_download(uv: Callable[[str], None]) -> None:
    uv("exit 0")
    failure = install([target("cp312")], Cancellation(), {"UV_PYTHON_DOWNLOADS": "never"}).failure
    assert failure == "UV_PYTHON_DOWNLOADS is `never`"


def test_a_uv_that_takes_too_long(uv: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install_pythons, "_INSTALL_TIMEOUT", 0.2)
    uv("exec sleep 60")
    assert install([target("cp312")], Cancellation()).failure == "uv did not finish within 0 s"


def test_installing_can_be_stopped(uv: Callable[[str], None]) -> None:
    uv("exec sleep 60")
    cancellation, started = Cancellation(), time.monotonic()
    Timer(0.2, cancellation.request).start()
    with pytest.raises(Cancelled):
        install([target(f"cp3{minor}") for minor in range(9, 15)], cancellation)
    assert time.monotonic() - started < 40
