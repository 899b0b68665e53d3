"""Verdicts over several wheels: what counts, how it is said, and the commands that users call for it."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from manywheels.cli.main import main
from manywheels.cli.request import FORMATS
from manywheels.errors import InputError
from manywheels.report.findings import render
from manywheels.verify import Report, check_wheel, collect
from manywheels.verify.checks import CHECKS
from manywheels.verify.model import Finding, Problem, Severity
from manywheels.verify.rules import Ignored, Rules, verification_rules
from manywheels.verify.run import Extra, verify_wheels
from manywheels.wheels.manifest import describe_wheel
from manywheels.wheels.output import MANIFEST
from unit.elfmaker import SharedObject
from unit.helpers import PLATFORM, built, manifest, write_sdist, write_wheel


def finding(code: str, severity: Severity = Severity.WARNING, member: str | None = None) -> Finding:
    return Finding(
        code=code, severity=severity, wheel="x.whl", problem=Problem(message="odd", remedy="Mend it.", member=member)
    )


def good_wheel(folder: Path, tag: str = "cp312") -> Path:
    suffix = f"cpython-{tag.removeprefix('cp')}-x86_64-linux-gnu"
    return write_wheel(
        folder, tags=f"{tag}-{tag}-{PLATFORM}", members={f"demo/_core.{suffix}.so": SharedObject().to_bytes()}
    )


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        (Rules(), ["MW253", "MW254"]),
        (Rules(ignored=(Ignored(code="MW253"),)), ["MW254"]),
        (Rules(ignored=(Ignored(code="MW254", files="demo/*"),)), ["MW253"]),
        (Rules(ignored=(Ignored(code="MW254", files="other/*"),)), ["MW253", "MW254"]),
    ],
)
def test_what_is_ignored_does_not_count(rules: Rules, left: list[str]) -> None:
    found = rules.judge([finding("MW253"), finding("MW254", member="demo/x.c")])
    assert [entry.code for entry in found] == left


def test_strict_makes_errors_of_warnings() -> None:
    assert [entry.severity for entry in Rules(strict=True).judge([finding("MW253")])] == [Severity.ERROR]
    assert [entry.severity for entry in Rules().judge([finding("MW253")])] == [Severity.WARNING]


def test_the_table_in_pyproject() -> None:
    table = {
        "strict": True,
        "libraries": ["libtbb.so.*"],
        "ignore": ["MW253", {"code": "MW254", "files": "demo/*", "reason": "its licence"}],
    }
    assert verification_rules({"verify": table}) == Rules(
        strict=True,
        libraries=("libtbb.so.*",),
        ignored=(Ignored(code="MW253"), Ignored(code="MW254", files="demo/*", reason="its licence")),
    )


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ({"ignored": []}, "`ignored`"),
        ({"ignore": "MW253"}, "not a list"),
        ({"ignore": ["MW999"]}, "`MW999`"),
        ({"ignore": [{"files": "*"}]}, "not a valid entry"),
        ({"ignore": [{"code": "MW253", "why": "x"}]}, "not a valid entry"),
        ({"ignore": [7]}, "not a valid entry"),
        ({"ignore": ["MW200"]}, "`MW200`"),
        ({"strict": "yes"}, "`yes`"),
        ({"libraries": "libtbb.so"}, "libraries"),
    ],
)
def test_wrong_tables_are_refused(table: dict[str, object], word: str) -> None:
    with pytest.raises(InputError) as caught:
        verification_rules({"verify": table})
    assert word in caught.value.message.replace("no such key: ignored", "`ignored`")
    assert caught.value.remedy


def test_a_verify_key_that_is_no_table() -> None:
    with pytest.raises(InputError):
        verification_rules({"verify": True})


def test_every_wheel_is_checked_though_one_is_none(tmp_path: Path) -> None:
    (tmp_path / "broken-1.0-cp312-cp312-linux_x86_64.whl").write_bytes(b"no archive")
    good_wheel(tmp_path)
    verdict = verify_wheels(sorted(tmp_path.glob("*.whl")), Rules())
    assert [[entry.code for entry in report.findings] for report in verdict.reports] == [["MW200"], []]
    assert not verdict.passed


def test_a_link_that_leads_nowhere_keeps_no_other_from_being_checked(tmp_path: Path) -> None:
    (tmp_path / "broken-1.0-py3-none-any.whl").symlink_to(tmp_path / "absent")
    good_wheel(tmp_path)
    verdict = verify_wheels(collect([tmp_path])[0], Rules())
    assert [[entry.code for entry in report.findings] for report in verdict.reports] == [["MW200"], []]


def test_a_process_that_is_killed_is_the_finding_of_its_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path, left_out: tuple[str, ...]) -> Report:
        if path.name.startswith("huge"):
            os.kill(os.getpid(), signal.SIGKILL)
        return check_wheel(path, left_out)

    monkeypatch.setattr("manywheels.verify.run.check_wheel", read)
    monkeypatch.setattr("manywheels.verify.run.available_cores", lambda: 2)
    good_wheel(tmp_path)
    (tmp_path / "huge-1.0-py3-none-any.whl").write_bytes(b"")
    verdict = verify_wheels(sorted(tmp_path.glob("*.whl")), Rules())
    assert [[entry.code for entry in report.findings] for report in verdict.reports] == [[], ["MW200"]]
    assert "memory" in verdict.findings[0].problem.message


# --- checks that others make ------------------------------------------------------------------------------------------

IGNORING_SIZES = Rules(ignored=(Ignored(code="MW225", reason="it is a table of zeros"),))


def bomb(folder: Path) -> Path:
    return write_wheel(folder, tags="py3-none-any", members={"demo/zeros": bytes(66 << 20)})


def test_what_is_ignored_does_not_switch_off_attestations(tmp_path: Path) -> None:
    refused = Extra(ask=lambda _: (finding("MW280", Severity.ERROR),))
    verdict = verify_wheels([bomb(tmp_path)], IGNORING_SIZES, extra=[refused])
    assert [entry.code for entry in verdict.findings] == ["MW280"]


def test_an_odd_archive_is_given_to_no_installer_and_that_is_said(tmp_path: Path) -> None:
    def install(path: Path) -> tuple[Finding, ...]:
        raise AssertionError(path)

    verdict = verify_wheels([bomb(tmp_path)], IGNORING_SIZES, extra=[Extra(ask=install, unpacks="pip and uv")])
    (said,) = verdict.findings
    assert (said.code, said.severity) == ("MW273", Severity.WARNING)
    assert "was not tried with pip and uv" in said.problem.message
    assert "MW225" in said.problem.message


def test_attestations_of_what_cannot_be_read_are_asked_for_too(tmp_path: Path) -> None:
    path = tmp_path / "broken-1.0-py3-none-any.whl"
    path.write_bytes(b"no archive")
    verdict = verify_wheels([path], Rules(), extra=[Extra(ask=lambda _: (finding("MW280", Severity.ERROR),))])
    assert [entry.code for entry in verdict.findings] == ["MW200", "MW280"]


def test_libraries_of_other_packages_are_named(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, members={"demo/_core.abi3.so": SharedObject(needed=("libtbb.so.12",)).to_bytes()})
    assert [entry.code for entry in verify_wheels([wheel], Rules()).findings] == ["MW209"]
    assert verify_wheels([wheel], Rules(libraries=("libtbb.so.*",))).findings == ()


def test_wheels_of_several_projects_are_sets_of_their_own(tmp_path: Path) -> None:
    for project in ("demo", "other"):
        write_wheel(
            tmp_path, start=f"{project}-1.0", tags=f"cp312-cp312-{PLATFORM}",
            members={f"{project}/_core.abi3.so": SharedObject().to_bytes()},
        )  # fmt: skip
    verdict = verify_wheels(sorted(tmp_path.glob("*.whl")), Rules())
    assert verdict.set_findings == ()
    assert verdict.passed


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_names_the_code_the_place_and_the_cure(tmp_path: Path, form: str) -> None:
    wheel = good_wheel(tmp_path)
    wheel = wheel.rename(tmp_path / wheel.name.replace("cp312-cp312", "cp313-cp313"))
    verdict = verify_wheels([wheel], Rules())
    said = render(verdict, form)
    for word in ("MW202", "MW205", "demo/_core.cpython-312-x86_64-linux-gnu.so", "build again"):
        assert word in said


def test_the_machine_readable_formats_parse(tmp_path: Path) -> None:
    verdict = verify_wheels([good_wheel(tmp_path)], Rules())
    as_json = json.loads(render(verdict, "json"))
    assert as_json["passed"] is True
    assert as_json["wheels"][0]["findings"] == []
    sarif = json.loads(render(verdict, "sarif"))
    assert sarif["version"] == "2.1.0"
    assert [rule["id"] for rule in sarif["runs"][0]["tool"]["driver"]["rules"]] == [check.code for check in CHECKS]


def test_no_wheel_speaks_to_the_ci(tmp_path: Path) -> None:
    """A wheel's member may be called like a workflow command; annotations hold it, and begin none of its own."""
    hostile = "demo/\n::error::x.cpython-311-x86_64-linux-gnu.so"
    wheel = write_wheel(tmp_path, tags=f"cp312-cp312-{PLATFORM}", members={hostile: SharedObject().to_bytes()})
    verdict = verify_wheels([wheel], Rules())
    for form in ("github", "text"):
        for line in render(verdict, form).splitlines():
            ours = form == "github" and line.startswith(("::error title=MW2", "::warning title=MW2"))
            assert ours or not line.lstrip().startswith("::")


def test_the_command_finds_the_manifest_and_the_projects_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("manywheels.cli.verify.chosen_by_installers", lambda *_: ())
    good_wheel(tmp_path)
    manifest = {
        "schema": 1, "project": "demo", "version": "1.0", "source": "sha256:0", "platform": PLATFORM, "seconds": 1.0,
        "toolchain": "t", "manywheels": "0", "targets": [{"identifier": f"cp313-{PLATFORM}", "state": "failed"}],
    }  # fmt: skip
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    assert main(["verify", "."]) == 3
    assert "MW260" in capsys.readouterr().out
    rules = '[tool.manywheels.verify]\nignore = [{ code = "MW260", reason = "only a test" }]\n'
    (tmp_path / "pyproject.toml").write_text(rules)
    assert main(["verify", "."]) == 0
    assert "MW260" not in capsys.readouterr().out


@pytest.fixture
def dist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a set, and a wheel and an sdist of the release before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("manywheels.cli.verify.chosen_by_installers", lambda *_: ())
    (tmp_path / "dist").mkdir()
    wheels = {tag: good_wheel(tmp_path / "dist", tag) for tag in ("cp312", "cp313")}
    records = [
        replace(built(tag), wheel=describe_wheel(wheel, glibc="2.17", libraries=())) for tag, wheel in wheels.items()
    ]
    manifest(*records).write(tmp_path / "dist")
    for start in ("demo-0.9", "demo-0.8"):
        write_wheel(tmp_path / "dist", start=start)
        write_sdist(tmp_path / "dist", start=start)
    return tmp_path / "dist"


def test_files_of_other_versions_are_left_beside_a_manifest(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "dist"]) == 0, capsys.readouterr()
    said = capsys.readouterr()
    assert said.err.startswith("note: not looked at, as they are of other versions than the manifest's: `demo-0.8")
    assert "2 wheels: no findings" in said.out
    assert "demo-0." not in said.out


def test_files_of_other_versions_are_looked_at_where_they_are_named(
    dist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", *map(str, sorted(dist.glob("*.whl")))]) == 3
    said = capsys.readouterr()
    assert "MW261 wheels of several versions of demo: `0.8`, `0.9`, `1.0`" in said.out
    assert said.err == ""


@pytest.mark.parametrize("start", ["demo-1.0", "other-0.9"])
def test_a_file_that_does_not_belong_to_the_set_is_named(
    dist: Path, capsys: pytest.CaptureFixture[str], start: str
) -> None:
    more = write_wheel(dist, start=start, tags=f"cp311-cp311-{PLATFORM}")
    assert main(["verify", "dist"]) == 3
    said = capsys.readouterr().out
    assert f"error: {more.name}: MW260 is not in the manifest" in said[said.index("✗ the set of wheels") :]


def test_the_command_says_what_was_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shell makes all of these of `dist/*`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("manywheels.cli.verify.chosen_by_installers", lambda *_: ())
    wheels = [good_wheel(tmp_path), write_wheel(tmp_path, tags="cp312-cp312-win_amd64")]
    others = [tmp_path / name for name in ("demo-1.0.zip", f"{wheels[0].name}.asc")]
    for other in others:
        other.write_bytes(b"")
    assert main(["verify", *map(str, (*wheels, *others))]) == 0
    told = capsys.readouterr()
    assert told.err.splitlines() == [
        "demo-1.0.zip is an sdist of another format than .tar.gz, and was not looked at",
        f"{wheels[0].name}.asc is no wheel, and was not looked at",
    ]
    assert told.out.count("its machine code was not checked") == 1
    assert "for Windows" in told.out
    assert main(["verify", str(others[0])]) == 2
    assert "is an sdist" in capsys.readouterr().err


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "mw208"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("MW208 symbols (check, error)\n")
    assert "newer symbols" in told
    assert main(["explain"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("MW")]
    assert {check.code for check in CHECKS} <= set(listed)
    assert listed == sorted(set(listed))
    assert main(["explain", "MW999"]) == 2
    assert "`MW999`" in capsys.readouterr().err


def test_a_fault_of_our_own_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        raise KeyError("oops")

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("manywheels.cli.main.execute", fail)
    assert main(["doctor"]) == 1
    told = capsys.readouterr().err
    assert "A fault in manywheels" in told
    assert "Traceback" not in told
    (kept,) = tmp_path.glob("manywheels-fault-*.txt")
    assert "KeyError: 'oops'" in kept.read_text()
