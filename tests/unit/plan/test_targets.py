"""Which targets a selection makes, and what is said of one that makes none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from packaging.specifiers import SpecifierSet

from manywheels.errors import SelectionError
from manywheels.plan.interpreters import Interpreter
from manywheels.plan.targets import (
    Plan,
    Refusal,
    Selection,
    Target,
    expand_patterns,
    known_targets,
    select,
    select_where,
)
from unit.helpers import TARGETS, interpreter, target

EVERYWHERE = [interpreter(known.tag) for known in TARGETS]
MODERN = "cp310 cp311 cp312 cp313 cp314 cp314t cp315 cp315t"


def plan(
    build: str, *, skip: str = "", enable: str = "", requires: str | None = None, found: str | None = None
) -> Plan:
    here = EVERYWHERE if found is None else [interpreter(tag) for tag in found.split()]
    selection = Selection(build=expand_patterns(build), skip=expand_patterns(skip), enable=frozenset(enable.split()))
    return select(selection, TARGETS, here, SpecifierSet(requires) if requires else None)


def tags(made: Plan) -> str:
    return " ".join(entry.target.tag for entry in made.targets)


def test_released_pythons_that_the_default_leaves_out_are_told() -> None:
    here = [interpreter(tag) for tag in ["cp38", "cp312", "cp313t", "cp314", "cp314t", "cp315"]]  # cp315t is not here
    selection = Selection(build=("cp312", "cp314"), skip=("cp315",), by_name=False, is_default=True)
    made = select(selection, TARGETS, here, None)
    assert [(target.tag, reason) for target, reason in made.excluded] == [
        ("cp314t", Refusal.NOT_DEFAULT),
        ("cp315", Refusal.SKIPPED),
    ]
    named = Selection(build=("cp312", "cp314"))
    assert select(named, TARGETS, here, None).excluded == ()
    older = select(selection, TARGETS, here, SpecifierSet("<3.14"))
    assert (target("cp314t"), Refusal.REQUIRES_PYTHON) in older.excluded


@pytest.mark.parametrize(
    ("build", "skip", "expected"),
    [
        ("cp312-manylinux_x86_64", "", "cp312"),
        ("cp312", "", "cp312"),
        ("3.12", "", "cp312"),
        ("3.13", "", "cp313"),
        ("3.14t", "", "cp314t"),
        ("cp314t", "", "cp314t"),
        ("pypy3.11", "", "pp311"),
        ("pp*", "", "pp311 pp312"),
        ("pp3?-*", "", "pp39"),
        ("pp31?-*", "pp312", "pp311"),
        ("cp39-* cp310-*", "", "cp39 cp310"),
        ("cp3{9,10}-*", "", "cp39 cp310"),
        ("cp39,cp3{10,11}-*", "", "cp39 cp310 cp311"),
        ("cp312 cp39", "", "cp39 cp312"),
        ("cp312 3.12 cp312-*", "", "cp312"),
        ("cp313-*", "", "cp313"),
        ("cp313*", "", "cp313"),
        ("cp313t-*", "", "cp313t"),
        ("cp3{9..11}-*", "", "cp39 cp310 cp311"),
        ("cp3??-*", "", "cp310 cp311 cp312 cp313 cp314 cp315"),
        ("*", "cp3?-* pp*", MODERN),
        ("*", "cp38 pp* cp39-*", MODERN),
        ("cp31[12]-*", "", "cp311 cp312"),
    ],
)
def test_selection(build: str, skip: str, expected: str) -> None:
    assert tags(plan(build, skip=skip)) == expected


@pytest.mark.parametrize(
    ("build", "enable", "expected"),
    [
        ("*", "", "cp39 " + MODERN),
        ("*", "pypy", f"cp39 {MODERN} pp311 pp312"),
        ("*", "pypy-eol", f"cp39 {MODERN} pp39 pp310"),
        ("pp*", "pypy-eol", "pp39 pp310 pp311 pp312"),
        ("pp310-*", "", "pp310"),
        ("cp3{8,9}-*", "", "cp38 cp39"),
        ("*", "cpython-eol", f"cp38 cp39 {MODERN}"),
        ("cp313*", "cpython-freethreading", "cp313 cp313t"),
        ("cp313*", "pypy", "cp313"),
        ("cp313* 3.13t", "", "cp313 cp313t"),
        ("cp31{2,3t}-*", "", "cp312 cp313t"),
        ("cp38", "", "cp38"),
        ("*-manylinux_x86_64 pp*", "", f"cp39 {MODERN} pp311 pp312"),
    ],
)
def test_interpreters_of_groups_are_enabled_or_named(build: str, enable: str, expected: str) -> None:
    assert tags(plan(build, enable=enable)) == expected


def test_what_is_not_enabled_is_said() -> None:
    made = plan("cp313*")
    assert [(left.tag, reason) for left, reason in made.excluded] == [("cp313t", Refusal.NOT_ENABLED)]


def test_all_means_every_interpreter_found() -> None:
    assert tags(plan("all", found="cp311 cp314t")) == "cp311 cp314t"


def test_all_goes_with_patterns() -> None:
    made = plan("all cp39", found="cp311")
    assert tags(made) == "cp39 cp311"
    assert [entry.target.tag for entry in made.missing] == ["cp39"]


def test_targets_without_interpreter_stay_in_the_plan() -> None:
    made = plan("cp311 cp312", found="cp312")
    assert [(entry.target.tag, entry.interpreter and entry.interpreter.version) for entry in made.targets] == [
        ("cp311", None),
        ("cp312", "3.12.1"),
    ]


@pytest.mark.parametrize(
    ("requires", "expected"),
    [
        (">=3.10", "cp310 cp311 cp312"),
        (">=3.9.2,<3.12", "cp39 cp310 cp311"),
        ("!=3.10.*", "cp39 cp311 cp312"),
        (">=3.9", "cp39 cp310 cp311 cp312"),
        ("~=3.11", "cp311 cp312"),
    ],
)
def test_requires_python_excludes(requires: str, expected: str) -> None:
    assert tags(plan("cp39 cp310 cp311 cp312", requires=requires)) == expected


def test_what_is_left_out_is_said() -> None:
    made = plan("cp39 cp310 cp311", skip="cp310", requires=">=3.10")
    assert [(left.tag, reason) for left, reason in made.excluded] == [
        ("cp39", Refusal.REQUIRES_PYTHON),
        ("cp310", Refusal.SKIPPED),
    ]


@pytest.mark.parametrize(
    ("build", "skip", "option", "pattern", "near"),
    [
        ("cp399-*", "", "build", "cp399-*", "cp39"),
        ("cp3.12", "", "build", "cp3.12", "cp312"),
        ("cp312-manylinux_aarch64", "", "build", "cp312-manylinux_aarch64", "cp312-manylinux_x86_64"),
        ("*", "cp36-*", "skip", "cp36-*", "cp3"),
        ("cp312 cp399", "", "build", "cp399", "cp39"),
        ("* cp399-*", "", "build", "cp399-*", "cp39"),
        ("all cp399-*", "", "build", "cp399-*", "cp39"),
    ],
)
def test_patterns_that_match_nothing_are_refused(build: str, skip: str, option: str, pattern: str, near: str) -> None:
    with pytest.raises(SelectionError) as caught:
        plan(build, skip=skip)
    assert f"`{option}`" in caught.value.message
    assert f"`{pattern}`" in caught.value.message
    assert f"Did you mean `{near}" in caught.value.remedy
    assert "cp314t-manylinux_x86_64" in caught.value.remedy


def test_nonsense_has_no_nearest() -> None:
    with pytest.raises(SelectionError) as caught:
        plan("windows")
    assert "Did you mean" not in caught.value.remedy
    assert "cp39-manylinux_x86_64" in caught.value.remedy


def test_nothing_left_because_of_the_project() -> None:
    with pytest.raises(SelectionError) as caught:
        plan("cp39 cp310", requires=">=3.11")
    assert "`>=3.11`" in caught.value.message
    assert "cp39, cp310" in caught.value.message
    assert "requires-python" in caught.value.remedy


def test_nothing_left_because_of_skip() -> None:
    with pytest.raises(SelectionError) as caught:
        plan("cp312", skip="*")
    assert "`skip` is `*`" in caught.value.message
    assert "manywheels plan" in caught.value.remedy


def test_nothing_found_for_all() -> None:
    with pytest.raises(SelectionError, match="`build` is `all`"):
        plan("all", found="")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        (" \n\t", ()),
        ("a b", ("a", "b")),
        ("a,b", ("a", "b")),
        ("a, b\nc", ("a", "b", "c")),
        ("cp3{9,10}-*", ("cp39-*", "cp310-*")),
        ("{a,b}{1,2}", ("a1", "a2", "b1", "b2")),
        ("x{a,{b,c}}", ("xa", "xb", "xa", "xc")),
        ("{a,b},c", ("a", "b", "c")),
        ("c,{a,b}", ("c", "a", "b")),
        ("cp3{9..11}", ("cp39", "cp310", "cp311")),
        ("{2..0}", ("2", "1", "0")),
        ("{a..b}", ("a..b",)),
    ],
)
def test_patterns_are_split_and_expanded(text: str, expected: tuple[str, ...]) -> None:
    assert expand_patterns(text) == expected


@pytest.mark.parametrize(
    ("tag", "interpreter_tag", "abi", "expected"),
    [
        ("cp312", "cp312", "cp312", True),
        ("cp312", "cp39", "abi3", True),
        ("cp312", "cp312", "abi3", True),
        ("cp312", "cp313", "abi3", False),
        ("cp312", "cp311", "cp311", False),
        ("cp312", "py3", "none", True),
        ("cp312", "cp312", "none", True),
        ("cp312", "py39", "none", True),
        ("cp312", "py313", "none", False),
        ("cp313t", "cp313", "cp313t", True),
        ("cp313t", "cp313", "cp313", False),
        ("cp313t", "cp39", "abi3", False),
        ("cp313t", "py3", "none", True),
        ("cp313", "cp313", "cp313t", False),
        ("cp314t", "cp39", "abi3t", True),  # nothing makes such wheels, and installers are to take them (PEP 803)
        ("cp314t", "cp315", "abi3t", False),
        ("cp315t", "cp315", "abi3t", True),
        ("cp315t", "cp315", "abi3", False),
        ("cp315", "cp315", "abi3t", False),
        ("pp311", "pp311", "pypy311_pp80", True),
        ("pp311", "pp311", "pypy311_pp73", False),
        ("pp311", "py3", "none", True),
        ("pp311", "cp39", "abi3", False),
    ],
)
def test_which_wheels_an_interpreter_accepts(
    tag: str,
    interpreter_tag: str,
    abi: str,
    expected: bool,  # noqa: FBT001
) -> None:
    assert target(tag).accepts(interpreter_tag, abi) is expected


@pytest.mark.parametrize(
    ("tag", "identifier", "version", "spec", "free_threaded"),
    [
        ("cp39", "cp39-manylinux_x86_64", (3, 9), "3.9", False),
        ("cp314t", "cp314t-manylinux_x86_64", (3, 14), "3.14t", True),
        ("pp311", "pp311-manylinux_x86_64", (3, 11), "pypy3.11", False),
    ],
)
def test_names_of_a_target(
    tag: str,
    identifier: str,
    version: tuple[int, int],
    spec: str,
    free_threaded: bool,  # noqa: FBT001
) -> None:
    known = target(tag)
    assert (known.identifier, known.version, known.spec, known.free_threaded) == (
        identifier, version, spec, free_threaded,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("family", "arch", "has_pypy"),
    [
        ("manylinux", "x86_64", True),
        ("manylinux", "aarch64", True),
        ("manylinux", "i686", True),
        ("manylinux", "armv7l", False),
        ("manylinux", "s390x", False),
        ("musllinux", "x86_64", False),
        ("musllinux", "aarch64", False),
    ],
)
def test_every_platform_has_cpython_and_some_have_pypy(family: str, arch: str, has_pypy: bool) -> None:  # noqa: FBT001
    known = known_targets(family, arch)
    wanted = [one.tag for one in TARGETS if one.tag.startswith("cp" if not has_pypy else ("cp", "pp"))]
    assert [one.tag for one in known] == wanted
    assert known[0].identifier == f"cp38-{family}_{arch}"
    assert len({one.identifier for one in known}) == len(known)


@pytest.mark.parametrize(
    "abis", [("pypy311_pp73",), ("pypy311_pp80", "pypy311_pp73"), ("pypy311_pp100", "pypy311_pp80")]
)
def test_a_pypy_is_found_whatever_its_abi_and_the_newest_counts(abis: tuple[str, ...]) -> None:
    here = [replace(interpreter("pp311"), abi=abi) for abi in abis]
    selection = Selection(build=("pp311-*",))
    for found in (here, here[::-1]):
        (planned,) = select(selection, TARGETS, found, None).targets
        assert planned.interpreter is not None
        assert (planned.interpreter.abi, planned.target.abi) == (abis[0], abis[0])
        assert planned.target == target("pp311")  # options are looked up by it
        assert planned.target.folder == f"pp311-{abis[0]}"
        assert planned.target.accepts("pp311", abis[0])
        assert not any(planned.target.accepts("pp311", other) for other in abis[1:])


def test_the_oldest_comes_first() -> None:
    cpythons = [known for known in TARGETS if known.tag.startswith("cp")]
    assert cpythons == sorted(cpythons, key=lambda known: (known.version, known.free_threaded))


# --- where each target is built ---------------------------------------------------------------------------------------

ON_BOTH = (*known_targets("manylinux", "x86_64"), *known_targets("musllinux", "aarch64"))
IMAGES = {"manylinux": {"cp311", "cp312", "cp314t"}, "musllinux": {"cp312", "cp313"}}


def in_its_image(known: Target) -> Interpreter | None:
    return interpreter(known.tag) if known.tag in IMAGES[known.family] else None


def selected_in_images(build: str, *, is_default: bool = False) -> Plan:
    selection = Selection(build=expand_patterns(build), by_name=not is_default, is_default=is_default)
    return select_where(selection, ON_BOTH, in_its_image, None)


def test_each_target_has_the_interpreter_of_its_own_place() -> None:
    made = selected_in_images("cp311 cp312 cp313")
    assert [(one.target.identifier, one.interpreter is not None) for one in made.targets] == [
        ("cp311-manylinux_x86_64", True), ("cp312-manylinux_x86_64", True), ("cp313-manylinux_x86_64", False),
        ("cp311-musllinux_aarch64", False), ("cp312-musllinux_aarch64", True), ("cp313-musllinux_aarch64", True),
    ]  # fmt: skip


def test_all_means_what_each_place_has() -> None:
    assert selected_in_images("all").identifiers == (
        "cp311-manylinux_x86_64", "cp312-manylinux_x86_64", "cp314t-manylinux_x86_64",
        "cp312-musllinux_aarch64", "cp313-musllinux_aarch64",
    )  # fmt: skip


def test_what_the_default_leaves_out_is_told_for_each_place() -> None:
    made = selected_in_images("cp312", is_default=True)
    assert [(known.identifier, reason) for known, reason in made.excluded] == [
        ("cp311-manylinux_x86_64", Refusal.NOT_DEFAULT),
        ("cp314t-manylinux_x86_64", Refusal.NOT_DEFAULT),
        ("cp313-musllinux_aarch64", Refusal.NOT_DEFAULT),
    ]


def test_patterns_over_identifiers_choose_the_place() -> None:
    assert selected_in_images("cp312-*_aarch64 cp311-many*").identifiers == (
        "cp311-manylinux_x86_64", "cp312-musllinux_aarch64",
    )  # fmt: skip


def test_no_place_is_asked_of_targets_that_are_not_selected() -> None:
    """An image is pulled when it is asked."""
    asked: list[Target] = []

    def find(known: Target) -> Interpreter | None:
        asked.append(known)
        return in_its_image(known)

    selection = Selection(build=("cp312-*_x86_64", "cp311-*"), skip=("*-musllinux_*",))
    select_where(selection, ON_BOTH, find, SpecifierSet("<3.12"))
    assert {known.identifier for known in asked} == {"cp311-manylinux_x86_64"}
