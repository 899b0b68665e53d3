"""What installers are asked, what there is to import in a wheel, and how failures to import are told; no processes."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from manywheels.plan.interpreters import Interpreter
from manywheels.runtime.uv import why_uv_refused
from manywheels.verify.checks import CHECKS
from manywheels.verify.imports.host import Attempt, ImportFailure, ImportReport, import_all
from manywheels.verify.imports.modules import (
    Module,
    accepts,
    importable,
    interpreter_for,
    modules_of,
    requires_python,
)
from manywheels.verify.installs import chosen_by_installers, pythons, questions
from manywheels.verify.model import Severity
from manywheels.verify.places import Place, place_of, uv_at_least, uv_at_most
from manywheels.wheels.wheelfile import parse_name
from unit.helpers import interpreter, write_wheel

SPAM = Module(name="spam")
CORE = Module(name="spam._core", member="spam/_core.abi3.so")
MORE = Module(name="spam.more._core", member="spam/more/_core.abi3.so")
EGGS = Module(name="eggs")


# --- what installers are asked


@pytest.mark.parametrize(
    ("tags", "asked"),
    [
        ("cp312-cp312", ["3.12 cp312"]),
        ("cp312-cp311", ["3.12 cp312"]),
        ("cp311.cp312-cp311.cp312", ["3.11 cp311", "3.12 cp312"]),
        ("cp313-cp313t", ["3.13t cp313t"]),
        ("cp39-abi3", ["3.9 cp39"]),
        ("cp315-abi3.abi3t", ["3.15 cp315", "3.15t cp315t"]),
        ("cp315-abi3t", ["3.15t cp315t"]),
        ("cp37-cp37m", ["3.7 cp37m"]),
        ("py3-none", ["3.8 cp38"]),
        ("py2.py3-none", ["3.8 cp38"]),
        ("pp311-pypy311_pp73", ["pypy3.11 pypy311_pp73"]),
    ],
)
def test_the_pythons_of_the_tags_are_asked_as_they_are(tags: str, asked: list[str]) -> None:
    found = pythons(parse_name(f"spam-1.0-{tags}-manylinux_2_28_x86_64.whl"), None)
    assert [f"{python.spec} {python.abi}" for python in found] == asked


def test_of_many_pythons_the_oldest_that_the_project_allows_is_asked() -> None:
    name = parse_name("spam-1.0-cp39-abi3-manylinux_2_28_x86_64.whl")
    (python,) = pythons(name, SpecifierSet(">=3.11.2"))
    assert python.spec == "3.11"


@pytest.mark.parametrize(
    ("platforms", "asked"),
    [
        ("manylinux_2_28_x86_64", ["manylinux_2_28_x86_64"]),
        ("manylinux_2_17_x86_64.manylinux2014_x86_64", ["manylinux2014_x86_64"]),
        (
            "manylinux1_x86_64.manylinux_2_5_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64",
            ["manylinux1_x86_64", "manylinux_2_28_x86_64"],
        ),
        ("linux_armv6l.linux_armv7l", ["linux_armv6l", "linux_armv7l"]),
        ("any", ["any"]),
    ],
)
def test_of_compressed_platforms_the_least_and_the_most_demanding_are_asked(platforms: str, asked: list[str]) -> None:
    found = questions(parse_name(f"spam-1.0-cp312-cp312-{platforms}.whl"), None)
    assert [question.tag for question in found] == asked


@pytest.mark.parametrize("tag", ["manylinux2020_x86_64", "windows", "linux"])
def test_platforms_that_no_linux_machine_has(tmp_path: Path, tag: str) -> None:
    (finding,) = chosen_by_installers(write_wheel(tmp_path, tags=f"cp312-cp312-{tag}"))
    assert finding.code == "MW270"
    assert f"`{tag}`" in finding.problem.message
    assert finding.severity is Severity.ERROR


@pytest.mark.parametrize("tag", ["macosx_11_0_arm64", "win_amd64", "ios_13_0_arm64_iphoneos"])
def test_installers_of_other_systems_are_not_asked(tmp_path: Path, tag: str) -> None:
    assert chosen_by_installers(write_wheel(tmp_path, tags=f"cp312-cp312-{tag}")) == ()


# --- places


@pytest.mark.parametrize(
    ("tag", "at_least"),
    [
        ("manylinux1_x86_64", "x86_64-manylinux_2_17"),
        ("manylinux2014_aarch64", "aarch64-manylinux_2_17"),
        ("manylinux_2_28_x86_64", "x86_64-manylinux_2_28"),
        ("manylinux_2_29_x86_64", "x86_64-manylinux_2_31"),
        ("manylinux_2_40_aarch64", "aarch64-manylinux_2_40"),
        ("manylinux_2_31_riscv64", "riscv64-unknown-linux"),
        ("musllinux_1_1_aarch64", "aarch64-unknown-linux-musl"),
        ("linux_x86_64", "x86_64-manylinux_2_17"),
        ("manylinux_2_99_x86_64", None),
        ("manylinux_2_28_s390x", None),
        ("manylinux_2_28_ppc64le", None),
        ("manylinux2014_i686", None),
        ("musllinux_1_2_armv7l", None),
    ],
)
def test_uv_is_asked_about_the_nearest_platform_that_must_take_the_wheel(tag: str, at_least: str | None) -> None:
    place = place_of(tag)
    assert place is not None
    found = uv_at_least(place)
    assert (found.name if found else None) == at_least


@pytest.mark.parametrize(
    ("libc", "version", "arch", "name"),
    [
        ("glibc", (2, 43), "x86_64", "x86_64-manylinux_2_40"),
        ("glibc", (2, 30), "x86_64", "x86_64-manylinux_2_28"),
        ("glibc", (2, 12), "x86_64", None),
        ("musl", (1, 2), "x86_64", "x86_64-unknown-linux-musl"),
        ("glibc", (2, 36), "s390x", None),
    ],
)
def test_dependencies_are_chosen_for_what_runs_in_the_image(
    libc: str, version: tuple[int, int], arch: str, name: str | None
) -> None:
    found = uv_at_most(Place(libc=libc, version=version, arch=arch))
    assert (found.name if found else None) == name


NO_SOLUTION = """error: No solution found when resolving dependencies
  cause: Because foo==1.0 has no wheels with a matching Python ABI tag (e.g., `cp312`) and you require foo==1.0, we can
         conclude that your requirements are unsatisfiable.

hint: You require CPython 3.12
"""


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (NO_SOLUTION, "foo==1.0 has no wheels with a matching Python ABI tag (e.g., `cp312`)"),
        ("Using CPython\nerror: It is broken\n  cause: by chance\n", "It is broken cause: by chance"),
        ("Killed\n", "Killed"),
        ("", "uv gave no reason"),
    ],
)
def test_uv_s_reason_is_told_in_one_line(output: str, reason: str) -> None:
    assert why_uv_refused(output) == reason


# --- what there is to import


@pytest.mark.parametrize(
    ("members", "modules"),
    [
        (["spam.py"], ["spam"]),
        (["spam/__init__.py", "spam/util.py"], ["spam"]),
        (["spam/__init__.py", "spam/_core.cpython-312-x86_64-linux-gnu.so"], ["spam", "spam._core"]),
        (["_spam.abi3.so"], ["_spam"]),
        (["_spam.abi3t.so", "_eggs.cpython-313t-x86_64-linux-gnu.so"], ["_spam", "_eggs"]),
        (["_spam.pypy311-pp73-x86_64-linux-gnu.so"], ["_spam"]),
        (["_spam.so"], ["_spam"]),
        (["space/spam/_core.abi3.so"], ["space", "space.spam._core"]),
        (["spam/__init__.abi3.so"], ["spam"]),
        (["spam-1.0.data/platlib/spam/_core.abi3.so", "spam-1.0.data/purelib/eggs.py"], ["spam", "eggs", "spam._core"]),
        (["spam-1.0.data/scripts/run.py", "spam-1.0.data/platlib", "spam-1.0.data/data/x.py"], []),
        (["spam-1.0.dist-info/x.py", "spam.libs/libz-1234.so.1", "spam.libs/z.so"], []),
        (["spam/libz.so.1", "spam/data.bin", "spam/not-a-name.py", "1spam.py", "class.py"], []),
        (["__main__.py", "tests/test_spam.py", "spam/tests/_help.abi3.so", "spam/__init__.pyi"], []),
        (["spam/_a.cpython-311-x86_64-linux-gnu.so", "spam/_a.cpython-312-x86_64-linux-gnu.so"], ["spam", "spam._a"]),
        (["libspam-x.so", "spam/"], []),
    ],
)
def test_modules_are_derived_from_the_members(members: list[str], modules: list[str]) -> None:
    assert [module.name for module in importable(members)] == modules


def test_an_extension_module_knows_its_file_also_at_the_top() -> None:
    assert importable(["_spam.abi3.so"]) == (Module(name="_spam", member="_spam.abi3.so"),)


def test_a_shared_library_without_an_initialiser_is_no_module(tmp_path: Path) -> None:
    contents = {
        "spam/helper.so": b"\x7fELF no initialiser",
        "spam/_core.so": b"\x7fELF\0PyInit__core\0",
        "spam/__init__.py": b"",
    }
    found = modules_of(write_wheel(tmp_path, members=contents))
    assert [module.name for module in found] == ["spam", "spam._core"]


@pytest.mark.parametrize(
    ("tags", "requires", "chosen"),
    [
        ("cp312-cp312-linux", "", "cp312"),
        ("cp39-abi3-linux", "", "cp39"),
        ("cp39-abi3-linux", ">=3.11", "cp312"),
        ("cp314-cp314-linux", "", None),
        ("cp313-cp313t-linux", "", "cp313t"),
        ("py3-none-any", "", "cp39"),
        ("cp312-cp312-win", "", None),
    ],
)
def test_the_first_interpreter_that_installs_the_wheel(tags: str, requires: str, chosen: str | None) -> None:
    from packaging.tags import platform_tags

    tags = tags.replace("linux", next(iter(platform_tags())))
    known: list[Interpreter] = [interpreter(tag) for tag in ("cp39", "cp312", "cp313t")]
    found = interpreter_for(parse_name(f"spam-1.0-{tags}.whl"), known, SpecifierSet(requires))
    assert (found.abi if found else None) == chosen


@pytest.mark.parametrize(
    ("abi", "version", "tags", "expected"),
    [
        ("cp315t", "3.15.0", "cp315-abi3.abi3t", True),
        ("cp315", "3.15.0rc1", "cp315-abi3.abi3t", True),
        ("cp314", "3.14.9", "cp315-abi3.abi3t", False),
        ("cp315t", "3.15.0", "cp39-abi3", False),
        ("pypy311_pp80", "3.11.17", "pp311-pypy311_pp80", True),
        ("pypy311_pp80", "3.11.17", "pp311-pypy311_pp73", False),
        ("pypy311_pp90", "3.11.17", "pp311-pypy311_pp90", True),  # which no table knows
        ("graalpy250_312", "3.12.8", "py3-none", False),
    ],
)
def test_each_pypy_and_cpython_installs_wheels_for_its_abi(abi: str, version: str, tags: str, expected: bool) -> None:  # noqa: FBT001
    name = parse_name(f"spam-1.0-{tags}-manylinux_2_28_x86_64.whl")
    assert accepts(abi, version, name, None) is expected


@pytest.mark.parametrize(
    ("line", "allowed"), [("Requires-Python: >=3.9\n", ">=3.9"), ("", None), ("Requires-Python: nine\n", None)]
)
def test_requires_python_is_read_from_the_metadata(tmp_path: Path, line: str, allowed: str | None) -> None:
    metadata = f"Metadata-Version: 2.4\nName: demo\nVersion: 1.0\n{line}"
    found = requires_python(write_wheel(tmp_path, metadata=metadata))
    assert (str(found) if found else None) == allowed


def test_of_a_file_that_is_no_archive_nothing_is_known(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0-py3-none-any.whl"
    path.write_bytes(b"no archive")
    assert requires_python(path) is None


# --- what came of it


class Interpreters:
    """Interpreters that end as they are told, one after another; what each was to import is kept."""

    def __init__(self, *attempts: Attempt) -> None:
        self.attempts = list(attempts)
        self.asked: list[list[str]] = []

    def __call__(self, modules: Sequence[Module]) -> Attempt:
        self.asked.append([module.name for module in modules])
        return self.attempts.pop(0)


def lines(*results: dict[str, object]) -> str:
    return "".join(json.dumps(result) + "\n" for result in results)


def failed(module: str, kind: str, text: str, missing: str | None = None) -> dict[str, object]:
    return {"failed": module, "kind": kind, "text": text, "missing": missing}


def test_a_crash_ends_one_interpreter_and_another_goes_on_with_the_rest() -> None:
    run = Interpreters(
        Attempt(status=134, results=lines({"begun": "spam"}, {"imported": "spam"}, {"begun": "spam._core"})),
        Attempt(status=0, results=lines({"begun": "eggs"}, {"imported": "eggs"}, {"ended": True})),
    )
    (failure,) = import_all([SPAM, CORE, EGGS], run)
    assert failure == ImportFailure(module=CORE, how="the interpreter is killed by SIGABRT")
    assert run.asked == [["spam", "spam._core", "eggs"], ["eggs"]]


def test_nothing_below_a_package_that_crashes_is_tried() -> None:
    run = Interpreters(
        Attempt(status=139, results=lines({"begun": "spam"})), Attempt(status=0, results=lines({"ended": True}))
    )
    assert [failure.module for failure in import_all([SPAM, CORE, EGGS], run)] == [SPAM]
    assert run.asked[1] == ["eggs"]


@pytest.mark.parametrize(
    ("attempt", "how"),
    [
        (Attempt(status=0, results=lines({"begun": "spam"})), "the interpreter exits with status 0"),
        (Attempt(status=3, results="", timed_out=False), "the interpreter exits with status 3"),
        (Attempt(status=128 + 99, results=""), "the interpreter is killed by signal 99"),
        (Attempt(status=143, results=lines({"begun": "spam"}), timed_out=True), "the import does not end"),
    ],
)
def test_an_interpreter_that_ends_before_its_time(attempt: Attempt, how: str) -> None:
    (failure,) = import_all([SPAM], Interpreters(attempt))
    assert failure == ImportFailure(module=SPAM, how=how)


def test_after_the_time_limit_nothing_more_is_tried() -> None:
    run = Interpreters(Attempt(status=143, results=lines({"begun": "spam"}), timed_out=True))
    (failure,) = import_all([SPAM, CORE, EGGS], run)
    assert failure.how == "the import does not end; 2 more were not tried"


def test_a_wheel_whose_modules_all_crash_is_found_out() -> None:
    modules = [Module(name=f"m{number}") for number in range(50)]
    run = Interpreters(*(Attempt(status=139, results=lines({"begun": module.name})) for module in modules))
    failures = import_all(modules, run)
    assert len(failures) == 10
    assert failures[-1].how.endswith("40 more were not tried")


def test_lines_that_are_no_results_are_passed_over() -> None:
    noise = "nonsense\n[1]\n" + lines({"begun": "other"}, {"failed": "spam"}, {"begun": "spam"}, {"ended": True})
    assert import_all([SPAM], Interpreters(Attempt(status=0, results=noise))) == ()


def findings_of(*results: dict[str, object]) -> list[tuple[Severity, str, str]]:
    modules = [SPAM, CORE, MORE]
    attempt = Attempt(status=0, results=lines(*results, {"ended": True}))
    trial = ImportReport(wheel=Path("spam.whl"), modules=modules, where="with Python 3.12.1")
    found = trial.findings(import_all(modules, Interpreters(attempt)), "/tmp/x/site")
    assert all(finding.code == "MW272" for finding in found)
    return [(finding.severity, finding.problem.message, finding.problem.remedy) for finding in found]


GLIBC = "libc.so.6: version `GLIBC_2.38' not found"
NUMPY = "No module named 'numpy'"


@pytest.mark.parametrize(
    ("result", "severity", "remedy"),
    [
        (failed(CORE.name, "ImportError", "/tmp/x/site/spam/_core.so: undefined symbol: f"), Severity.ERROR, "Link"),
        (failed(CORE.name, "ImportError", GLIBC), Severity.ERROR, "older libc"),
        (
            failed(CORE.name, "ImportError", "libgone.so: cannot open shared object file"),
            Severity.ERROR,
            "Graft",
        ),
        (failed(CORE.name, "ModuleNotFoundError", NUMPY, "numpy.core"), Severity.WARNING, "`numpy`"),
        (failed("spam", "ModuleNotFoundError", NUMPY, "numpy"), Severity.ERROR, "Declare `numpy`"),
        (
            failed(CORE.name, "ModuleNotFoundError", "No module named 'spam.x'", "spam.x"),
            Severity.ERROR,
            "in the wheel",
        ),
        (failed("spam", "ValueError", "one\n  two"), Severity.ERROR, "python -c 'import spam'"),
    ],
)
def test_failures_name_the_module_the_exception_and_the_cure(
    result: dict[str, object], severity: Severity, remedy: str
) -> None:
    ((found, message, cure),) = findings_of(result)
    assert found is severity
    assert message.startswith(f"`{result['failed']}` cannot be imported with Python 3.12.1: {result['kind']}: ")
    assert "/tmp/x" not in message
    assert "\n" not in message
    assert remedy in cure


def test_modules_that_fail_alike_are_told_of_together() -> None:
    text = "No module named 'numpy'"
    everything = [failed(name, "ModuleNotFoundError", text, "numpy") for name in ("spam", CORE.name, MORE.name)]
    ((severity, message, _),) = findings_of(*everything)
    assert severity is Severity.ERROR
    assert message.startswith("`spam`, `spam._core`, `spam.more._core` cannot be imported")


def test_a_long_exception_is_cut() -> None:
    ((_, message, _),) = findings_of(failed("spam", "ValueError", "x" * 10_000))
    assert len(message) < 500


def test_each_check_has_a_code_of_its_own_and_says_why() -> None:
    assert {"MW270", "MW271", "MW272", "MW273"} <= {check.code for check in CHECKS}
    assert len({check.code for check in CHECKS}) == len(CHECKS)
    assert all(check.must_hold.endswith(".") and check.reason.endswith(".") for check in CHECKS)
    assert [check.code for check in CHECKS] == sorted(check.code for check in CHECKS)


def test_the_worker_describes_the_interpreter_that_runs_it() -> None:
    from manywheels.verify.imports.worker import describe

    facts = describe()
    assert facts["version"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["path"] == sys.executable
