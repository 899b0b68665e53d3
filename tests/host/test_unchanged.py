"""A second run of `build`: what is unchanged is done, and only what is missing is built."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fetched import WHEELS
from unit.helpers import write_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from host.conftest import Finished, Program

TAGS = "cp310 cp312"


class Machine:
    """A project on a machine with a cache of its own, built into one output folder."""

    def __init__(self, program: Program, cache: Path) -> None:
        self.program, self.cache = program, cache
        self.source, self.output = program.copy("c_setuptools"), program.new_folder("dist")
        pythons = program.pyenv_of(["cp39", "cp310", "cp312"])  # at the same places in each run
        self.caller = {"MANYWHEELS_CACHE": str(cache), **pythons}

    def build(
        self, *options: str | Path, status: int = 0, tags: str = TAGS, caller: Mapping[str, str] | None = None
    ) -> Finished:
        caller = {**self.caller, **(caller or {})}
        finished = self.program.build(self.source, *options, tags=tags, output=self.output, caller=caller)
        assert finished.status == status, finished.text
        return finished


@pytest.fixture
def machine(program: Program, private_cache: Path) -> Machine:
    return Machine(program, private_cache)


def kept(finished: Finished) -> list[str]:
    return [tag for tag, target in finished.targets.items() if target["kept"]]


def reasons(finished: Finished) -> list[str]:
    lines = finished.stderr.splitlines()
    return [line.removeprefix("note: built again: ") for line in lines if line.startswith("note: built again: ")]


def contents(finished: Finished) -> dict[str, bytes]:
    return {wheel.name: wheel.read_bytes() for wheel in finished.wheels}


def test_unchanged_is_up_to_date(machine: Machine) -> None:
    first = machine.build()
    before, inodes = contents(first), {wheel: wheel.stat().st_ino for wheel in first.wheels}
    assert kept(first) == []
    first_targets = first.targets
    second = machine.build()
    assert kept(second) == ["cp310", "cp312"]
    assert contents(second) == before
    assert {wheel: wheel.stat().st_ino for wheel in second.wheels} == inodes
    assert "up to date: 2 wheels; " in second.stdout
    assert "building" not in second.stdout
    made = {tag: target["made_from"] for tag, target in first_targets.items()}
    assert made == {tag: target["made_from"] for tag, target in second.targets.items()}
    assert any(line.startswith("setuptools==") for line in made["cp312"]["requires"])
    assert made["cp310"]["tools"] != made["cp312"]["tools"], "another interpreter"
    assert kept(machine.build()) == ["cp310", "cp312"], "the manifest of a run that kept all is as good"


def test_all_is_built_anew_where_asked_for(machine: Machine) -> None:
    machine.build()
    again = machine.build("--fresh")
    assert kept(again) == []
    assert reasons(again) == []


def test_what_manywheels_writes_into_the_project_is_no_change(machine: Machine) -> None:
    reports = [f"--{name}={machine.source / name}" for name in ("report", "junit", "trace")]
    machine.build(*reports, tags="cp312")
    machine.build("--output-dir", str(machine.source / "other"), tags="cp312")
    assert (machine.source / "report").is_file()
    assert (machine.source / "other" / "manywheels.json").is_file()
    assert kept(machine.build(*reports, tags="cp312")) == ["cp312"]


def test_another_project_in_the_same_folder_is_named(machine: Machine) -> None:
    machine.build(tags="cp312")
    other = machine.program.build("tested", tags="cp312", output=machine.output, caller=machine.caller)
    assert "is that of another project, `c-setuptools`, and is replaced; its wheels stay" in other.stderr
    assert reasons(other) == []


def test_a_change_is_seen_and_named(machine: Machine, git: Callable[..., str]) -> None:
    """One after another: each run builds again for the last change alone."""
    unit, beside = machine.source / "c_setuptools/_core.c", machine.source.parent / "VERSION"
    git(machine.source.parent, "init", "-q", ".")
    beside.write_text("1")
    git(machine.source.parent, "add", ".")
    git(machine.source.parent, "commit", "-q", "-m", "all")
    machine.build(tags="cp312")

    def reason(*options: str, **variables: str) -> str:
        changed = machine.build(*options, tags="cp312", caller=variables)
        assert kept(changed) == []
        (found,) = reasons(changed)
        return found.removeprefix(f"cp312-manylinux_{os.uname().machine}: ")

    unit.write_text(unit.read_text() + "\n")
    assert reason() == "the source has changed"
    unit.chmod(0o755)
    assert reason() == "the source has changed"
    beside.write_text("2")
    assert reason() == "the source has changed"
    option = ("--config-settings", "a=b")
    assert reason(*option) == "its options or variables have changed"
    assert reason(*option, SOURCE_DATE_EPOCH="1700000000") == "its options or variables have changed"
    changed = {"SOURCE_DATE_EPOCH": "1700000000", "PATH": f"{machine.program.environment['PATH']}:/nowhere"}
    assert (
        reason(*option, **changed)
        == "the image, compilers, interpreter, PATH, the system's packages or manywheels have changed"
    )
    (wheel,) = machine.output.glob("*.whl")
    content = bytearray(wheel.read_bytes())
    content[len(content) // 2] ^= 1
    wheel.write_bytes(content)
    assert reason(*option, **changed) == "its wheel was changed"


def test_a_tag_changes_the_version_and_so_the_source(machine: Machine, git: Callable[..., str]) -> None:
    machine.source = machine.program.copy("scm")
    for words in (("init", "-q", "."), ("add", "."), ("commit", "-q", "-m", "all"), ("tag", "v1.0")):
        git(machine.source, *words)
    assert machine.build(tags="cp312").manifest["version"] == "1.0"
    assert kept(machine.build(tags="cp312")) == ["cp312"]
    git(machine.source, "tag", "v2.0")
    git(machine.source, "tag", "-d", "v1.0")
    changed = machine.build(tags="cp312")
    assert kept(changed) == []
    assert changed.manifest["version"] == "2.0"


def test_a_new_release_of_a_build_requirement_is_seen(machine: Machine) -> None:
    """Only of those that the project requires, directly or not."""
    links = machine.program.new_folder("links")
    for wheel in WHEELS.glob("*.whl"):
        (links / wheel.name).symlink_to(wheel)
    write_wheel(links, start="helper-1.0", tags="py3-none-any", members={"helper.py": b""})
    settings = machine.source / "pyproject.toml"
    settings.write_text(settings.read_text().replace('"setuptools>=77"', '"setuptools>=77", "helper"'))
    found = {"UV_FIND_LINKS": str(links), "PIP_FIND_LINKS": str(links)}
    machine.build(tags="cp312", caller=found)
    write_wheel(links, start="other-9.0", tags="py3-none-any", members={"other.py": b""})
    assert kept(machine.build(tags="cp312", caller=found)) == ["cp312"]
    write_wheel(links, start="helper-1.1", tags="py3-none-any", members={"helper.py": b""})
    newer = machine.build(tags="cp312", caller=found)
    assert kept(newer) == []
    assert reasons(newer)[0].endswith("its build requirements have changed: helper 1.0 → 1.1")
    assert "helper==1.1" in newer.targets["cp312"]["made_from"]["requires"]


def test_requirements_that_only_a_build_could_tell_are_not_compared(machine: Machine) -> None:
    settings = machine.source / "pyproject.toml"
    local = machine.program.copy("pure")
    settings.write_text(
        settings.read_text().replace('"setuptools>=77"', f'"setuptools>=77", "pure @ {local.as_uri()}"')
    )
    first = machine.build(tags="cp312")
    assert first.targets["cp312"]["made_from"]["requires"] is None
    assert kept(machine.build(tags="cp312")) == ["cp312"]


def failing_for_312(place: Path) -> str:
    """Return a `before-build` that fails for Python 3.12 unless a file is there."""
    code = f"import os, sys; sys.exit(sys.version_info[:2] == (3, 12) and not os.path.exists({str(place)!r}))"
    return f"python -c {shlex.quote(code)}"


def test_after_a_failure_only_what_is_missing_is_built(machine: Machine, tmp_path: Path) -> None:
    repaired = tmp_path / "repaired"
    hook = ("--before-build", failing_for_312(repaired))
    failed = machine.build(*hook, status=1)
    assert failed.states == {"cp310": "built", "cp312": "failed"}
    repaired.touch()
    again = machine.build(*hook)
    assert again.states == {"cp310": "built", "cp312": "built"}
    assert kept(again) == ["cp310"]
    assert "2 wheels in " in again.stdout
    assert "1 of them up to date" in again.stdout
    assert sorted(wheel["wheel"]["name"] for wheel in again.manifest["targets"]) == [one.name for one in again.wheels]


def test_after_a_cancelled_run_only_what_is_missing_is_built(machine: Machine, tmp_path: Path) -> None:
    """3.12 waits for a file; the run is stopped when the wheel of 3.10 has been delivered."""
    go = tmp_path / "go"
    code = (
        f"import os, sys, time\nwhile sys.version_info[1] == 12 and not os.path.exists({str(go)!r}): time.sleep(0.05)"
    )
    hook = ("--before-build", f"python -c {shlex.quote(code)}")
    arguments = ("build", machine.source, "--output-dir", machine.output, "--build", TAGS, "--jobs", "2", *hook)
    process = machine.program.start(*arguments, caller=machine.caller, cwd=machine.source)
    try:
        while not list(machine.output.glob("*-cp310-*.whl")):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
    finally:
        stopped = machine.program.end_of(process, 0, machine.output)
    assert stopped.status == 143, stopped.text
    assert stopped.states == {"cp310": "built", "cp312": "cancelled"}
    assert stopped.targets["cp310"]["made_from"]["requires"]
    go.touch()
    again = machine.build("--jobs", "2", *hook)
    assert again.states == {"cp310": "built", "cp312": "built"}
    assert kept(again) == ["cp310"]


def test_a_further_python_is_added_and_one_less_is_no_change(machine: Machine) -> None:
    machine.build(tags="cp310")
    more = machine.build()
    assert kept(more) == ["cp310"]
    less = machine.build(tags="cp312")
    assert kept(less) == ["cp312"]
    assert list(less.targets) == ["cp312"]


def test_one_wheel_for_several_pythons_is_kept_with_all_that_it_serves(machine: Machine) -> None:
    machine.source = machine.program.copy("abi3")
    first = machine.build()
    assert first.states == {"cp310": "built", "cp312": "reused"}
    second = machine.build()
    assert second.states == first.states
    assert kept(second) == ["cp310", "cp312"]
    fewer = machine.build(tags="cp312")
    assert kept(fewer) == []
    assert reasons(fewer)[0].endswith(f"its wheel is that of cp310-manylinux_{os.uname().machine}")
    machine.build()
    earlier = machine.build(tags="cp39 cp310 cp312")
    assert earlier.states == {"cp39": "built", "cp310": "reused", "cp312": "reused"}
    assert kept(earlier) == []
    assert reasons(earlier)[0].endswith("another target is built that it serves, or that may serve it")
    machine.build(tags="cp310")
    later = machine.build()
    assert later.states == first.states
    assert kept(later) == [], "its wheel has the name of the one that 3.12 would make"
    assert later.targets["cp310"]["wheel"] == later.targets["cp312"]["wheel"]


def test_a_folder_of_wheels_that_came_with_a_checkout_is_not_trusted(machine: Machine, tmp_path: Path) -> None:
    """Whoever writes a manifest can give it the digests of any wheel and any source."""
    first = machine.build(tags="cp312")
    other = tmp_path / "other-machine"
    shutil.copytree(machine.cache, other, symlinks=True)
    shutil.rmtree(other / "manifests")
    machine.caller["MANYWHEELS_CACHE"] = str(other)
    assert kept(machine.build(tags="cp312")) == []
    forged = json.loads(json.dumps(first.manifest))
    forged["targets"][0]["log"] = None
    (machine.output / "manywheels.json").write_text(json.dumps(forged))
    assert kept(machine.build(tags="cp312")) == []


def test_a_cache_that_came_with_a_checkout_is_refused(machine: Machine, git: Callable[..., str]) -> None:
    """As GitLab's jobs have theirs in the checkout: it vouches for manifests, objects and build requirements."""
    caller = {"MANYWHEELS_CACHE": str(machine.source / ".cache")}
    git(machine.source, "init", "-q", ".")
    git(machine.source, "add", ".")
    git(machine.source, "commit", "-q", "-m", "all")
    (machine.source / ".cache").mkdir()
    for name in ("uv", "zig", "c++", "users"):
        (machine.source / ".cache" / name).symlink_to(machine.cache / name)
    machine.build(tags="cp312", caller=caller)
    assert kept(machine.build(tags="cp312", caller=caller)) == ["cp312"], "ignored files, as a job's cache brings them"
    git(machine.source, "add", "-f", ".cache/manifests")
    refused = machine.build(tags="cp312", status=2, caller=caller)
    assert "error MW009: The cache folder" in refused.stderr
    assert "has files of the checkout, such as `.cache/manifests/" in refused.stderr


@pytest.mark.parametrize("damage", ["gone", "no JSON", "a link", "a FIFO"])
def test_a_damaged_manifest_or_wheel_is_none(machine: Machine, damage: str) -> None:
    machine.build(tags="cp312")
    manifest = machine.output / "manywheels.json"
    (wheel,) = machine.output.glob("*.whl")
    match damage:
        case "gone":
            wheel.unlink()
        case "no JSON":
            manifest.write_text("{")
        case "a link":
            moved = wheel.rename(machine.output / "moved")
            wheel.symlink_to(moved)
        case "a FIFO":
            wheel.unlink()
            os.mkfifo(wheel)
    assert kept(machine.build(tags="cp312")) == []


def test_reports_of_a_run_that_kept_all(machine: Machine, tmp_path: Path) -> None:
    machine.build()
    report, junit = tmp_path / "report.html", tmp_path / "junit.xml"
    machine.build("--report", report, "--junit", junit)
    assert "up to date" in report.read_text()
    assert 'failures="0"' in junit.read_text()
