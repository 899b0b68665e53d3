"""cibuildwheel's configuration: which table and variable counts, what is left aside, and what is said of the rest."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cibuildwheel.__main__ import check_for_invalid_selectors
from cibuildwheel.platforms import ALL_PLATFORM_MODULES
from cibuildwheel.selector import BuildSelector, EnableGroup

from manywheels.errors import InputError, IsolationError, SelectionError
from manywheels.plan import cibuildwheel
from manywheels.plan.assignments import expand
from manywheels.plan.option_types import ARCHS
from manywheels.plan.options import Options, resolve
from manywheels.plan.target_options import TargetOptions, fill, fill_values
from manywheels.plan.targets import known_targets
from manywheels.plan.trust import require_trusted
from manywheels.runtime.containers.create_arguments import sdk_arguments
from unit.helpers import given, project, target

MACHINE = os.uname().machine
PYPYS = [known.tag for known in known_targets("manylinux", MACHINE) if known.tag.startswith("pp")]
MODERN = ["cp39", "cp310", "cp311", "cp312", "cp313", "cp314", "cp314t", "cp315", "cp315t"]


def options(
    configuration: dict[str, Any] | None = None, own: dict[str, Any] | None = None, /, **environment: str
) -> Options:
    return resolve({}, replace(project(), settings=own or {}, cibuildwheel=configuration), environment=environment)


def recipe(configuration: dict[str, Any] | None = None, tag: str = "cp312", /, **environment: str) -> TargetOptions:
    return options(configuration, **environment).for_target(target(tag))


def tags(made: Options) -> list[str]:
    """Return the tags that are selected on some platform."""
    return list(dict.fromkeys(identifier.partition("-")[0] for identifier in made.selection.build))


def everywhere(*names: str) -> list[str]:
    """Return the identifiers of tags, in both families."""
    return [f"{tag}-{family}_{MACHINE}" for family in ("manylinux", "musllinux") for tag in names]


def test_without_a_table_and_variables_nothing_of_it_counts() -> None:
    made = options(CIBW_CACHE_PATH="/x", CIBW_DEBUG_TRACEBACK="1")
    assert made == options()
    assert not made.settings.is_from_cibuildwheel("build")


def test_variables_that_are_not_carried_out_are_named_without_a_table_too() -> None:
    made = options(CIBW_OUTPUT_DIR="wheelhouse", CIBW_DEBUG_KEEP_CONTAINER="1")
    assert [note.partition(" ")[0] for note in made.notes] == ["CIBW_DEBUG_KEEP_CONTAINER"]
    assert made.output_dir == Path("wheelhouse")
    assert not made.settings.is_from_cibuildwheel("build")


def test_an_image_for_pypy_alone() -> None:
    table = {"manylinux-pypy_x86_64-image": "quay.io/x/pypy:1", "enable": ["pypy"], "archs": "x86_64 i686"}
    made = options({**table, "manylinux-x86_64-image": "x:1"}, CIBW_MANYLINUX_PYPY_I686_IMAGE="manylinux2014")
    images = {
        known.identifier: (made.platform_of(known).policy.name, made.platform_of(known).image)
        for known in made.known_targets
        if known.tag in {"cp312", "pp311"} and known.family == "manylinux"
    }
    assert images == {
        "cp312-manylinux_x86_64": ("manylinux_2_28", "x:1"),
        "pp311-manylinux_x86_64": ("manylinux_2_28", "quay.io/x/pypy:1"),
        "cp312-manylinux_i686": ("manylinux_2_28", ""),
        "pp311-manylinux_i686": ("manylinux2014", ""),
    }
    assert made.notes == ()


def test_an_empty_table_means_what_cibuildwheel_builds() -> None:
    made = options({})
    assert list(made.selection.build) == everywhere(*MODERN)
    assert not made.selection.by_name
    assert made.left_out == ()
    assert made.notes == ()


def test_with_a_platform_that_is_given_only_that_is_built() -> None:
    made = options({"build": "cp312-*"}, MANYWHEELS_PLATFORM="musllinux_1_2")
    assert made.selection.build == (f"cp312-musllinux_{MACHINE}",)
    assert made.left_out == ()


def test_variables_alone_are_enough() -> None:
    assert tags(options(CIBW_BUILD="cp31{1,2}-*", CIBW_BEFORE_BUILD="make")) == ["cp311", "cp312"]
    assert recipe(CIBW_BEFORE_BUILD="make").before_build == "make"


def test_own_options_come_in_its_place_and_that_is_said() -> None:
    made = options({"before-build": "theirs"}, {"jobs": 3})
    assert made.for_target(target("cp312")).before_build == ""
    assert made.selection.build[0] == "cp39-*"
    assert made.notes == ("[tool.cibuildwheel] and CIBW_ variables are not read, because there is [tool.manywheels].",)


def test_rules_of_verification_leave_it_in_force() -> None:
    made = options({"build": "cp312-*"}, {"verify": {"strict": True}})
    assert tags(made) == ["cp312"]


@pytest.mark.parametrize(
    ("configuration", "environment", "expected"),
    [
        ({"before-build": "a"}, {}, "a"),
        ({"before-build": "a", "linux": {"before-build": "b"}}, {}, "b"),
        ({"before-build": "a", "macos": {"before-build": "b"}}, {}, "a"),
        ({"before-build": "a", "linux": {"before-build": "b", "inherit": {"before-build": "append"}}}, {}, "a && b"),
        ({"before-build": ["a", "b"]}, {}, "a && b"),
        ({"before-build": "a"}, {"CIBW_BEFORE_BUILD": "c"}, "c"),
        ({"before-build": "a"}, {"CIBW_BEFORE_BUILD": "c", "CIBW_BEFORE_BUILD_LINUX": "d"}, "d"),
        ({"before-build": "a"}, {"CIBW_BEFORE_BUILD_MACOS": "d"}, "a"),
        ({"before-build": "a"}, {"CIBW_BEFORE_BUILD": "c", "CIBW_INHERIT": "before-build: prepend"}, "c && a"),
        ({"before-build": "a"}, {"CIBW_BEFORE_BUILD_LINUX": "c", "CIBW_INHERIT": "before-build-linux"}, "a && c"),
        ({"before-build": "a", "overrides": [{"select": "cp312-*", "before-build": "o"}]}, {}, "o"),
        ({"before-build": "a", "overrides": [{"select": "cp311-*", "before-build": "o"}]}, {}, "a"),
        ({"before-build": "a", "overrides": [{"select": "*-macosx_*", "before-build": "o"}]}, {}, "a"),
        ({"before-build": "a", "overrides": [{"select": "cp3*", "before-build": "o", "inherit": "before-build"}]}, {},
         "a && o"),
        ({"overrides": [{"select": "cp3*", "before-build": "o"}]}, {"CIBW_BEFORE_BUILD": "c"}, "c"),
        ({"before-build": "a"}, {"CIBW_BEFORE_BUILD": ""}, ""),
        ({"before-build": "a"}, {"CIBW_BEFORE_BUILD": "c", "MANYWHEELS_BEFORE_BUILD": "m"}, "m"),
    ],
)  # fmt: skip
def test_which_value_counts(configuration: dict[str, Any], environment: dict[str, str], expected: str) -> None:
    assert recipe(configuration, **environment).before_build == expected


NO_VALUE = {"environment": "A=$(a | b)"}


@pytest.mark.parametrize(
    ("configuration", "environment"),
    [
        ({**NO_VALUE, "linux": {"environment": "A=1"}}, {}),
        (NO_VALUE, {"CIBW_ENVIRONMENT": "A=1"}),
        ({}, {"CIBW_ENVIRONMENT": "A=$(a | b)", "CIBW_ENVIRONMENT_LINUX": "A=1"}),
        ({}, {"CIBW_ENVIRONMENT": "A=$(a | b)", "MANYWHEELS_ENVIRONMENT": "A=1"}),
        ({"environment": "A=1", "macos": NO_VALUE, "windows": 3, "pyodide": {"unknown": 1}}, {}),
        ({"environment": "A=1"}, {"CIBW_ENVIRONMENT_MACOS": "A=$(a | b)", "CIBW_TEST_REQUIRES_WINDOWS": "'"}),
        ({"environment": "A=1", "skip": "*-musllinux_*", "overrides": [{"select": "*-musllinux_*", **NO_VALUE}]}, {}),
        ({"environment": "A=1", "build": "*-manylinux_*",
          "overrides": [{"select": "*-musllinux_*", "before-build": {"a": "b"}}]}, {}),
        ({"environment": "A=1", "build": "cp312-*", "overrides": [{"select": "cp311-*", **NO_VALUE}]}, {}),
        ({"environment": "A=1", "skip": "cp311-*", "overrides": [{"select": "cp311-*", **NO_VALUE}]}, {}),
        ({"environment": "A=1", "overrides": [{"select": "pp*", **NO_VALUE}]}, {}),
        ({"environment": "A=1", "dependency-versions": "absent.txt", "linux": {"dependency-versions": "latest"}}, {}),
        ({"environment": "A=1", "test-requires": "'", "build-verbosity": "loud", "test-extras": "+"},
         {"CIBW_TEST_REQUIRES": "", "CIBW_BUILD_VERBOSITY": "1", "CIBW_TEST_EXTRAS_LINUX": ""}),
    ],
)  # fmt: skip
def test_only_values_that_count_are_judged(configuration: dict[str, Any], environment: dict[str, str]) -> None:
    made = options(configuration, **environment)
    selected = [known for known in made.known_targets if known.tag == "cp312"]
    assert [expand(made.for_target(known).environment, {}) for known in selected] == [{"A": "1"}] * 2


@pytest.mark.parametrize(
    ("configuration", "environment", "message"),
    [
        ({"environment": "A=1", "linux": NO_VALUE}, {}, r"\[tool.cibuildwheel.linux\] environment: "),
        ({"environment": "A=1"}, {"CIBW_ENVIRONMENT_LINUX": "A=$(a | b)", "CIBW_ENVIRONMENT": "A=1"},
         "CIBW_ENVIRONMENT_LINUX: "),
        ({"overrides": [{"select": "cp312-*", **NO_VALUE}]}, {}, r"overrides\]\] 1 environment: "),
        ({"overrides": [{"select": "*-musllinux_*", **NO_VALUE}]}, {}, r"overrides\]\] 1 environment: "),
        ({"overrides": [{"select": "cp312-*", "before-build": {"a": "b"}}]}, {}, r"overrides\]\] 1 before-build: "),
        ({"dependency-versions": "absent.txt"}, {}, "there is no file `absent.txt`"),
    ],
)  # fmt: skip
def test_values_that_count_are_judged(configuration: dict[str, Any], environment: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        options(configuration, **environment)


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ("", ""),
        ("before-all", ""),
        ("before-all: prepend; test-command-linux", ""),
        ("test-command-macos: append; environment-windows test-command-pyodide", ""),
        ("manylinux-x86_64-image; xbuild-tools; container-engine: none", ""),
        ("before-all: invalid", "is not a table of rules"),
        ("before-all: pre pend", "is not a table of rules"),
        ("before-all: 'append", "is not a table of rules"),
        ("'before-all", "is not a value of `inherit`"),
        ("before-all-plan9: append", "before-all-plan9"),
        ("before-biuld", "did you mean `before-build`"),
        ("a b: append", "`a`"),
    ],
)
def test_rules_of_variables_are_judged_even_where_no_variable_is_set(rules: str, problem: str) -> None:
    if not problem:
        assert options(CIBW_INHERIT=rules) == options()
        return
    tables: tuple[dict[str, Any] | None, ...] = ({}, None)
    for configuration in tables:
        with pytest.raises(InputError, match="CIBW_INHERIT.*" + problem):
            options(configuration, CIBW_INHERIT=rules)


@pytest.mark.parametrize(
    ("configuration", "environment"),
    [
        ({"inherit": "build-frontend", "build-frontend": "pip"}, {}),
        ({}, {"CIBW_INHERIT": "dependency-versions", "CIBW_DEPENDENCY_VERSIONS": "latest"}),
        ({"dependency-versions": "latest"}, {"CIBW_INHERIT": "build-verbosity", "CIBW_BUILD_VERBOSITY": ""}),
    ],
)
def test_rules_are_refused_where_there_is_one_value(configuration: dict[str, Any], environment: dict[str, str]) -> None:
    with pytest.raises(InputError, match="has a single value, which `inherit` cannot join to"):
        options(configuration, **environment)


def test_what_is_given_counts_most() -> None:
    made = resolve(
        {"before-build": given("mine"), "build": given("cp310")},
        replace(project(), cibuildwheel={"before-build": "theirs", "build": "cp312-*", "skip": "cp39-* pp* *-win32"}),
        environment={},
    )
    assert made.for_target(target("cp312")).before_build == "mine"
    assert made.selection.build == ("cp310",)
    assert set(made.selection.skip) == {
        f"cp39-musllinux_{MACHINE}",
        *(f"{tag}-manylinux_{MACHINE}" for tag in ("cp39", *PYPYS)),
    }
    assert made.left_out == ()


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        ({"build": ""}, MODERN),
        ({"build": ["cp39-*", "cp310-*"]}, ["cp39", "cp310"]),
        ({"build": "cp3{9..11}-*"}, ["cp39", "cp310", "cp311"]),
        ({"build": "pp311-* cp312-*"}, ["cp312"]),
        ({"build": "pp311-* cp312-*", "enable": "pypy"}, ["cp312", "pp311"]),
        ({"build": "pp*", "enable": "pypy"}, ["pp311", "pp312"]),
        ({"build": "pp*", "enable": "pypy-eol"}, ["pp39", "pp310"]),
        ({"build": "cp38-* cp39-*"}, ["cp39"]),
        ({"build": "cp313*"}, ["cp313"]),
        ({"build": "cp313*", "enable": ["cpython-freethreading"]}, ["cp313", "cp313t"]),
        ({"build": "*-manylinux_* *-win32"}, MODERN),
    ],
)
def test_what_is_selected(configuration: dict[str, Any], expected: list[str]) -> None:
    assert tags(options(configuration)) == expected


def test_graalpy_alone_is_known_and_not_built() -> None:
    made = options({"build": "*-manylinux_*", "enable": "all"})
    left_out = dict(made.left_out)
    assert tags(made) == [*MODERN, *PYPYS]
    if MACHINE == "x86_64":
        assert PYPYS == ["pp39", "pp310", "pp311", "pp312"]
        assert [name.partition("-")[0] for name in left_out] == ["gp312_250", "gp313_253"]
    assert set(left_out.values()) <= {"no such interpreter here"}


def test_nothing_is_selected() -> None:
    with pytest.raises(SelectionError, match=r"\[tool.cibuildwheel\] build: `\*-macosx_\*` selects no target"):
        options({"build": "*-macosx_*"})


def test_values_are_written_as_cibuildwheel_writes_them() -> None:
    made = recipe({
        "environment": {"A": "it's", "B": "$A!", "C": 1},
        "config-settings": {"flag": True, "many": ["a b", "c"]},
        "build-frontend": {"name": "pip", "args": ["--no-cache-dir"]},
        "test-command": ["a", "b"], "test-requires": ["x>1", "y"], "test-extras": ["e", "f"],
        "dependency-versions": "pinned", "build-verbosity": 2,
    })  # fmt: skip
    assert expand(made.environment, {}) == {"A": "it's", "B": "it's!", "C": "1"}
    assert made.config_settings == ("flag=True", "many=a b", "many=c")
    assert (made.front_end.name, made.front_end.arguments, made.front_end.verbosity) == ("pip", ("--no-cache-dir",), 2)
    assert made.tests is not None
    assert (made.tests.command, made.tests.requires, made.tests.extras) == ("a && b", ("x>1", "y"), ("e", "f"))
    assert (made.constraints.file, made.constraints.packages) == ("", ())


def test_settings_of_other_systems_are_left_aside_without_a_word() -> None:
    made = options({
        "build": "cp312-*", "macos": {"archs": "universal2", "environment": {"A": "$(brew --prefix)"}},
        "windows": {"before-build": "x"}, "ios": {}, "android": {}, "pyodide": {"build-frontend": "pyodide-build"},
        "xbuild-tools": ["cmake"], "pyodide-version": "0.29",
        "overrides": [{"select": "*-win_*", "environment": "A=$(x)"}],
    }, CIBW_ENVIRONMENT_MACOS="A=$(x)")  # fmt: skip
    assert made.notes == ()
    assert made.for_target(target("cp312")).environment == ()


@pytest.mark.parametrize(
    ("configuration", "environment", "note"),
    [
        ({"test-runtime": {"args": ["x"]}}, {}, "[tool.cibuildwheel] test-runtime is not carried out: "),
        ({"overrides": [{"select": "cp312-*", "container-engine": "podman"}]}, {},
         "[tool.cibuildwheel] overrides: container-engine is not carried out: "),
        ({"free-threaded-support": True}, {}, "[tool.cibuildwheel] free-threaded-support is no option"),
        ({"overrides": [{"select": "cp312-*", "before-biuld": "x"}]}, {},
         "[tool.cibuildwheel] before-biuld is no option"),
    ],
)  # fmt: skip
def test_what_is_not_carried_out_is_named_once(
    configuration: dict[str, Any], environment: dict[str, str], note: str
) -> None:
    notes = options(configuration, **environment).notes
    assert [text.startswith(note) for text in notes] == [True]


@pytest.mark.parametrize(
    ("archs", "expected"),
    [
        ("auto", [MACHINE]), ("native", [MACHINE]), ("auto64", [MACHINE]), ("all", list(ARCHS)), (MACHINE, [MACHINE]),
        ("s390x,aarch64", ["s390x", "aarch64"]), (["auto", "riscv64"], [MACHINE, "riscv64"]),
        ("X86_64 i686", ["x86_64", "i686"]),
    ],
)  # fmt: skip
def test_architectures(archs: object, expected: list[str]) -> None:
    made = options({"archs": archs})
    assert list(dict.fromkeys(platform.arch for platform in made.platforms)) == expected
    assert len(made.platforms) == 2 * len(expected)
    assert made.notes == ()


@pytest.mark.parametrize("archs", ["sparc", "native sparc", ["auto", "sparc"], "auto,sparc"])
def test_an_architecture_that_is_none(archs: object) -> None:
    with pytest.raises(InputError, match=r"\[tool.cibuildwheel\] archs: there is no architecture `sparc`"):
        options({"archs": archs})


@pytest.mark.parametrize(
    ("configuration", "environment", "platform"),
    [
        ({f"manylinux-{MACHINE}-image": "manylinux2014"}, {}, "manylinux2014"),
        ({f"manylinux-{MACHINE}-image": ""}, {}, "manylinux_2_28"),
        ({}, {f"CIBW_MANYLINUX_{MACHINE.upper()}_IMAGE": "manylinux_2_34"}, "manylinux_2_34"),
        ({}, {f"CIBW_MANYLINUX_{MACHINE.upper()}_IMAGE": "my-image"}, "manylinux_2_28"),
        ({}, {"CIBW_PLATFORM": "linux"}, "manylinux_2_28"),
        ({}, {"CIBW_PLATFORM": "auto", "MANYWHEELS_PLATFORM": "linux"}, "manylinux_2_28"),
    ],
)
def test_the_image_decides_the_platform(
    configuration: dict[str, Any], environment: dict[str, str], platform: str
) -> None:
    assert [one.policy.name for one in options(configuration, **environment).platforms] == [platform, "musllinux_1_2"]


def test_an_override_may_name_an_image_for_some_targets() -> None:
    made = options({
        "build": "cp31{1,2,3}-*", "archs": "x86_64 aarch64", "manylinux-x86_64-image": "manylinux_2_34",
        "overrides": [
            {"select": "cp312-*", "manylinux-x86_64-image": "manylinux2014", "musllinux-aarch64-image": "own:1"},
            {"select": "cp313-*x86_64", "manylinux-x86_64-image": "example.org/m:1"},
            {"select": "cp399-*", "manylinux-x86_64-image": "manylinux1"},
        ],
    })  # fmt: skip
    found = {
        (known.tag, known.family, known.arch): (made.platform_of(known).policy.name, made.platform_of(known).image)
        for known in made.selected
    }
    many, musl, arm = ("manylinux", "x86_64"), ("musllinux", "x86_64"), ("musllinux", "aarch64")
    assert [found["cp311", *place] for place in (many, musl, arm)] == [
        ("manylinux_2_34", ""), ("musllinux_1_2", ""), ("musllinux_1_2", ""),
    ]  # fmt: skip
    assert [found["cp312", *place] for place in (many, musl, arm)] == [
        ("manylinux2014", ""), ("musllinux_1_2", ""), ("musllinux_1_2", "own:1"),
    ]  # fmt: skip
    assert found["cp313", "manylinux", "x86_64"] == ("manylinux_2_28", "example.org/m:1")
    assert {found[tag, "manylinux", "aarch64"] for tag in ("cp311", "cp312", "cp313")} == {("manylinux_2_28", "")}
    assert made.notes == ()


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"enable": "jython"}, r"\[tool.cibuildwheel\] enable: `jython` is not a group"),
        ({"environment": {"A": "$(a | b)"}}, r'\[tool.cibuildwheel\] environment: `A="\$\(a \| b\)"` is not a value'),
        ({"before-build": {"a": "b"}}, r"\[tool.cibuildwheel\] before-build: a value of this type"),
        ({"overrides": [{"before-build": "x"}]}, r"\[\[tool.cibuildwheel.overrides\]\] 1: `select` names no targets"),
        ({"before-biuld": "x"}, r"cibuildwheel knows no option `before-biuld`"),
        ({"linux": {"before-biuld": "x"}}, r"cibuildwheel knows no option `before-biuld`"),
        ({"overrides": 3}, r"\[tool.cibuildwheel\] overrides: this is not a list of tables"),
        ({"overrides": [3]}, r"\[tool.cibuildwheel\] overrides: this is not a list of tables"),
        ({"linux": 3}, r"\[tool.cibuildwheel.linux\]: this is not a table"),
        ({"inherit": "before-build 'x"}, r"\[tool.cibuildwheel\]: `before-build 'x` is not a value of `inherit`"),
        ({"inherit": {"before-build": "after"}}, r"\[tool.cibuildwheel\]: `inherit` is not a table of rules"),
        ({"test-skip": "cp312-*", "test-requires": "'"}, r"\[tool.cibuildwheel\] test-requires: `'` is not a value"),
    ],
)
def test_wrong_values_are_refused_with_their_place(configuration: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        options(configuration)


@pytest.mark.parametrize(
    ("configuration", "environment", "expected"),
    [
        ({}, {"CIBW_BUILD_FRONTEND": ""}, ("uv", 0)),
        ({"build-frontend": "pip"}, {"CIBW_BUILD_FRONTEND": ""}, ("uv", 0)),
        ({}, {"CIBW_BUILD_VERBOSITY": ""}, ("uv", 0)),
        ({"build-verbosity": 5}, {}, ("uv", 3)),
        ({}, {"CIBW_BUILD_VERBOSITY": "-12"}, ("uv", -3)),
        ({"overrides": [{"select": "cp312-*", "build-verbosity": 4}]}, {}, ("uv", 3)),
    ],
)
def test_what_is_empty_or_too_much_means_what_it_means_there(
    configuration: dict[str, Any], environment: dict[str, str], expected: tuple[str, int]
) -> None:
    made = recipe(configuration, **environment).front_end
    assert (made.name, made.verbosity) == expected


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("make -C /project", "make -C /copy"),
        ("cd /project; ls", "cd /copy; ls"),
        ("/project/tools/x.sh '/project/a' \"/project\"", "/copy/tools/x.sh '/copy/a' \"/copy\""),
        ("cc -I/project/include -L/project/lib", "cc -I/copy/include -L/copy/lib"),
        ("X=/project Y=/usr:/project/b", "X=/copy Y=/usr:/copy/b"),
        ("pip install file:///project/dep", "pip install file:///copy/dep"),
        ("ls /projects /project.d /project-x", "ls /projects /project.d /project-x"),
        (
            'ls /opt/project $HOME/project "$HOME"/project ./project',
            'ls /opt/project $HOME/project "$HOME"/project ./project',
        ),
        ("curl https://x.example/project {package}/project", "curl https://x.example/project {package}/project"),
    ],
)
def test_its_containers_folder_of_the_project_is_the_targets_copy(text: str, meant: str) -> None:
    assert fill(recipe({"before-build": text}).before_build, project="/copy") == meant


def test_that_folder_is_meant_wherever_places_are_put_in() -> None:
    made = recipe({
        "environment": {"PKG_CONFIG_PATH": "/project/.openblas"}, "test-environment": "DATA=/project/data",
        "config-settings": {"cross-file": "/project/cross.txt"}, "test-command": "pytest /project/tests",
        "test-sources": "/project/x",
    }, CIBW_BEFORE_ALL_LINUX="ls /project")  # fmt: skip
    assert expand(fill_values(made.environment, project="/copy"), {}) == {"PKG_CONFIG_PATH": "/copy/.openblas"}
    assert made.config_settings == ("cross-file={project}/cross.txt",)
    assert made.before_all is not None
    assert made.tests is not None
    assert made.before_all.command == "ls {project}"
    assert (made.tests.command, made.tests.sources) == ("pytest {project}/tests", ("/project/x",))
    assert expand(fill_values(made.tests.environment, project="/copy"), {}) == {"DATA": "/copy/data"}


def test_our_own_settings_mean_the_folder_that_they_name() -> None:
    made = resolve({}, project(before_build="ls /project", environment="A=/project"), environment={})
    assert made.for_target(target("cp312")).before_build == "ls /project"
    assert expand(made.for_target(target("cp312")).environment, {}) == {"A": "/project"}


def test_tests_are_skipped_by_its_patterns() -> None:
    made = options({"test-command": "pytest", "test-skip": "*-musllinux_* cp31{0,1}-* pp* cp36-*"})
    assert {known for known, own in made.by_target.items() if own.tests is None} == {
        known
        for known in made.known_targets
        if known.family == "musllinux" or known.tag in {"cp310", "cp311"} or known.tag.startswith("pp")
    }


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("my-image", "my-image"), ("my-image:latest", "my-image:latest"), ("manylinux2014", ""),
        (f"example.org/manylinux_2_34_{MACHINE}:1", f"example.org/manylinux_2_34_{MACHINE}:1"),
        ("manylinux-with-tools", "manylinux-with-tools"),
    ],
)  # fmt: skip
def test_an_image_may_be_a_local_one(image: str, expected: str) -> None:
    made = options({f"manylinux-{MACHINE}-image": image})
    assert [platform.image for platform in made.platforms] == [expected, ""]


def test_a_policy_that_is_none_is_no_image() -> None:
    with pytest.raises(InputError, match="`manylinux1` is not a value of `platform`"):
        options({f"manylinux-{MACHINE}-image": "manylinux1"})


def test_another_platform_is_built_elsewhere() -> None:
    with pytest.raises(InputError, match="CIBW_PLATFORM: manywheels builds for Linux only, not for `macos`"):
        options(CIBW_PLATFORM="macos")


def test_groups_of_the_command_line_are_added_to_the_tables() -> None:
    made = resolve(
        {"enable": given("cpython-prerelease graalpy")}, replace(project(), cibuildwheel={"enable": ["pypy"]}),
        environment={"CIBW_ENABLE": "pypy-eol"},
    )  # fmt: skip
    assert made.selection.enable == {"pypy", "pypy-eol", "cpython-prerelease", "graalpy"}


# --- container-engine -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        ("docker", "docker", {}),
        ("", "docker", {}),
        ("podman", "podman", {}),
        ("docker; create_args: --network=host -m 4g", "docker", {"network_mode": "host", "mem_limit": "4g"}),
        ("docker;create_args:--cpus=1.5;disable_host_mount: true", "docker", {"nano_cpus": 1_500_000_000}),
        ("docker; create_args: --platform=linux/arm64 -v /a:/b:ro -v /c:/d", "docker",
         {"volumes": ["/a:/b:ro", "/c:/d"]}),
        ("docker; create_args: --platform linux/arm64 --privileged --init=false", "docker",
         {"privileged": True, "init": False}),
        ({"name": "podman", "create-args": ["--add-host", "a:1.2.3.4", "--tmpfs", "/t:size=1g", "--pids-limit", "9"]},
         "podman", {"extra_hosts": {"a": "1.2.3.4"}, "tmpfs": {"/t": "size=1g"}, "pids_limit": 9}),
    ],
)  # fmt: skip
def test_what_containers_are_created_with(value: object, name: str, expected: dict[str, Any]) -> None:
    engine = options({"container-engine": value}).container_engine
    assert engine.name == name
    assert sdk_arguments(engine.of_container) == expected


def test_ulimits_and_graphics_cards() -> None:
    words = "docker; create_args: --ulimit nofile=1024:2048 --ulimit=core=0 --gpus all"
    made = sdk_arguments(options(CIBW_CONTAINER_ENGINE=words).container_engine.of_container)
    limits = [(limit.name, limit.soft, limit.hard) for limit in made["ulimits"]]
    assert limits == [("nofile", 1024, 2048), ("core", 0, 0)]
    assert made["device_requests"][0]["Count"] == -1


def test_variables_of_a_container_are_the_builds_and_not_the_programs() -> None:
    made = options(
        {"environment": "B=$A", "environment-pass": "D"},
        CIBW_CONTAINER_ENGINE="docker; create_args: -e 'A=1 2' --env C",
    )
    own = made.for_target(target("cp312"))
    assert expand(own.environment, {}) == {"A": "1 2", "B": "1 2"}
    assert own.environment_pass == ("C", "D")
    assert made.container_engine.of_container == ()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("containerd", "`containerd` is not a value of `container-engine`"),
        ("docker; create-args: --mount=type=bind", "`'?--mount=type=bind'?` of `create_args` is not taken"),
        ("docker; create_args: alpine", "`alpine` of `create_args` is not taken"),
        ("docker; create_args: --network", "`--network` has no value"),
        ("docker; create_args: --env =b", "does not begin with a variable's name"),
        ("docker; args: x", "is not a value of `container-engine`"),
    ],
)
def test_what_is_not_taken_of_it_is_named(value: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        options(CIBW_CONTAINER_ENGINE=value)


def test_an_override_reaches_no_variable_of_the_job_in_ci() -> None:
    override = {"select": "cp312-*", "container-engine": "docker; create_args: --env DEPLOY_TOKEN"}
    made = options({"overrides": [override]})
    with pytest.raises(IsolationError, match=r"container-engine.*--env"):
        require_trusted(made, {"CI": "true"})
    require_trusted(made, {})


REACHING = ["--privileged", "-v /:/host", "--network=host", "--device=/dev/kvm", "--env SECRET", "--cap-add=ALL",
            "--tmpfs=/opt/manywheels:mode=777"]  # fmt: skip


@pytest.mark.parametrize("argument", REACHING)
def test_a_projects_own_file_reaches_nothing_outside_of_the_container_in_ci(argument: str) -> None:
    value = f"docker; create_args: --memory=4g --env A=1 {argument}"
    ci = {"CI": "true"}
    with pytest.raises(IsolationError, match=r"container-engine.*" + argument.partition("=")[0].partition(" ")[0]):
        require_trusted(options({"container-engine": value}), ci)
    require_trusted(options({"container-engine": value}), {})
    require_trusted(options(CIBW_CONTAINER_ENGINE=value), ci)
    require_trusted(options({"container-engine": "docker; create_args: --memory=4g --env A=1"}), ci)


def test_a_projects_variables_do_not_reach_a_workflows_before_all() -> None:
    theirs = {"container-engine": "docker; create_args: --env PATH=/evil"}
    made = recipe(theirs, CIBW_BEFORE_ALL="make").before_all
    assert made is not None
    assert made.environment == ()
    own = recipe({**theirs, "before-all": "make"}).before_all
    assert own is not None
    assert expand(own.environment, {}) == {"PATH": "/evil"}


@pytest.mark.parametrize(
    ("text", "enable", "idle"),
    [
        ("cp39-* *-musllinux_* *_i686 *-win32 *-macosx_* cp31{2,3}-win_arm64 cp313-ios_* *-pyodide_*", "", ()),
        ("cp36-* cp37-* pp38-*", "", ("cp36-*", "pp38-*", "cp37-*")),
        ("pp*", "", ("pp*",)),
        ("pp*", "pypy", ()),
        ("*-macosx_universal2:arm64", "", ()),
        ("cp312", "", ("cp312",)),
        ("cp3{9,99}-*", "", ("cp399-*",)),
        ("*-linux_* *-manylinux_*", "", ("*-linux_*",)),
    ],
)
def test_patterns_that_leave_nothing_out(text: str, enable: str, idle: tuple[str, ...]) -> None:
    """Those that cibuildwheel warns of."""
    assert set(cibuildwheel.idle_patterns(text, frozenset(enable.split()))) == set(idle)
    identifiers = [config.identifier for module in ALL_PLATFORM_MODULES.values()
                   for config in module.all_python_configurations()]  # fmt: skip
    enabled = BuildSelector(build_config="*", skip_config="", enable=frozenset(map(EnableGroup, enable.split())))
    warnings = check_for_invalid_selectors(
        selector_name="test_skip", selector_value=text, all_valid_identifiers=identifiers,
        all_enabled_identifiers=[identifier for identifier in identifiers if enabled(identifier)],
    )  # fmt: skip
    assert len(warnings) == len([word for word in text.split() if set(cibuildwheel.patterns(word)) <= set(idle)])


def test_patterns_that_leave_nothing_out_are_noted() -> None:
    assert options({"skip": "cp36-* *-win32", "test-skip": "*-nothing"}).notes == (
        "[tool.cibuildwheel] skip: `cp36-*` matches no target of an enabled group, and has no effect.",
        "[tool.cibuildwheel] test-skip: `*-nothing` matches no target of an enabled group, and has no effect.",
    )
