"""Of what was left out of the copy, a failure names what it missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from manywheels.build.target.missing_source import explain_missing_source
from manywheels.core.cancellation import Cancellation
from manywheels.errors import BuildFailed, Cancelled
from manywheels.runtime import left_out
from manywheels.runtime.workspace import Snapshot
from unit.runtime.test_workspace import After, put


def remedy(message: str, *places: Path, excerpt: tuple[str, ...] = (), given: str = "") -> str:
    failure = BuildFailed(message, remedy=given, excerpt=excerpt)
    snapshot = Snapshot(root=Path("/x"), package=Path(), digest="", checkout="", left_out=places)
    explain_missing_source(failure, snapshot, Cancellation())
    return failure.remedy


@pytest.mark.parametrize(
    ("message", "file"),
    [
        ("fatal error: 'fetched.h' file not found", "fetched.h"),
        ("fatal error: fetched.h: No such file or directory", "fetched.h"),
        ("m.c:1:10: fatal error: sub/fetched.h: No such file or directory", "sub/fetched.h"),
        ("m.c:1:10: fatal error: ../../data/fetched.h: No such file or directory", "fetched.h"),
        ("FileNotFoundError: [Errno 2] No such file or directory: '../data/a.json'", "a.json"),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/run-1/source/data/a.json'", "a.json"),
        ("/usr/bin/ld: cannot find -lcore: No such file or directory", "libcore.a"),
        ("error: unable to find dynamic system library 'core' using strategy 'paths_first'", "libcore.so"),
        ("make: *** No rule to make target '../data/a.o', needed by 'x'.  Stop.", "a.o"),
        ("CMake Error: Cannot find source file: ../data/a.cpp", "a.cpp"),
        ("error: couldn't read `src/../data/table.bin`: No such file or directory (os error 2)", "table.bin"),
        ("cp: cannot stat 'data/x': No such file or directory", "x"),
    ],
)
def test_a_missing_file_is_found_where_it_was_left(tmp_path: Path, message: str, file: str) -> None:
    place = put(tmp_path / "data" / file).parent if "/" not in file else put(tmp_path / "data" / file).parents[1]
    put(tmp_path / "other" / "x.h")
    told = f"`{place / file}` exists, but `{place}` is not copied for builds."
    assert remedy(message, tmp_path / "other", place).startswith(told)
    assert remedy("The build back end failed", place, excerpt=("x", message)).startswith(told)


@pytest.mark.parametrize("message", ["fatal error: 'absent.h' file not found", "fetched.h", "fetched.h: error: x", ""])
def test_no_other_failure_is_explained(tmp_path: Path, message: str) -> None:
    put(tmp_path / "data" / "fetched.h")
    assert remedy(message, tmp_path / "data") == ""


def test_the_path_counts_and_a_better_remedy_stays(tmp_path: Path) -> None:
    put(tmp_path / "data" / "b" / "fetched.h")
    assert remedy("fatal error: a/fetched.h: No such file or directory", tmp_path / "data") == ""
    assert remedy("fatal error: b/fetched.h: No such file or directory", tmp_path / "data", given="Do.") == "Do."


def test_the_search_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        put(tmp_path / "data" / f"{number}.h")
    put(tmp_path / "late" / "fetched.h")
    (tmp_path / "data" / "loop").symlink_to(".")
    failure = BuildFailed("fatal error: 'fetched.h' file not found", remedy="")
    snapshot = Snapshot(
        root=Path("/x"), package=Path(), digest="", checkout="", left_out=(tmp_path / "data", tmp_path / "late")
    )
    with pytest.raises(Cancelled):
        explain_missing_source(failure, snapshot, After(10))
    monkeypatch.setattr(left_out, "MOST", 20)
    explain_missing_source(failure, snapshot, Cancellation())
    assert failure.remedy == ""
