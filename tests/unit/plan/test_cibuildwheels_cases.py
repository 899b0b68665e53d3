"""cibuildwheel's own tests of its options (4.3, for Linux), as configurations: what it makes of each, and what we do.

The expected value is what cibuildwheel says here, not a copy of it. `DIFFERENT` has the few that are meant to differ.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from cibuildwheel.architecture import allowed_architectures_check
from cibuildwheel.errors import FatalError
from cibuildwheel.options import CommandLineArguments, Options
from cibuildwheel.platforms.linux import container_image_for_python_configuration, get_python_configurations
from packaging.specifiers import SpecifierSet

from cibuildwheel_recipes import of_ours, of_theirs
from manywheels.errors import InputError, SelectionError
from manywheels.plan.container_engine import parse_container_engine
from manywheels.plan.option_types import ARCHS
from manywheels.plan.options import NothingToBuild, resolve
from manywheels.plan.targets import candidates
from unit.helpers import project

MACHINE = os.uname().machine
Case = tuple[str, Mapping[str, str]]  # `[tool.cibuildwheel]`, and variables

PYPROJECT = """
build = ["cp313*", "cp312*"]
environment = {FOO="BAR"}
test-command = "pyproject"
test-sources = ["test", "other dir"]
test-requires = "something"
test-extras = ["one", "two"]
environment-pass = ["EXAMPLE_ENV"]
manylinux-x86_64-image = "manylinux_2_28"
macos.test-requires = "else"
linux.test-requires = ["other", "many"]
[[tool.cibuildwheel.overrides]]
select = "cp313*"
test-command = "pyproject-override"
"""
PYPROJECT_2 = """
build = ["cp39*", "cp310*"]
environment = {FOO="BAR", "HAM"="EGGS"}
test-command = ["pyproject"]
[[tool.cibuildwheel.overrides]]
select = "cp39*"
inherit = {test-command="prepend", environment="append"}
test-command = ["pyproject-override", "override2"]
environment = {FOO="BAZ", "PYTHON"="MONTY"}
[[tool.cibuildwheel.overrides]]
select = "cp39-many*"
inherit = {test-command="append"}
test-command = ["pyproject-finalize", "finalize2"]
[[tool.cibuildwheel.overrides]]
select = "cp39-many*"
inherit = {test-command="append"}
test-command = ["extra-finalize"]
[[tool.cibuildwheel.overrides]]
select = "cp39-many*"
inherit = {test-command="prepend"}
test-command = ["extra-prepend"]
"""
OVERRIDES_INHERIT = """
before-all = ["before-all"]
config-settings = {key1="value1", key2="value2", empty=""}
[[tool.cibuildwheel.overrides]]
select = "cp39*"
inherit.before-all = "append"
before-all = ["override1"]
inherit.config-settings = "append"
config-settings = {key3="value3", key2="override2"}
[[tool.cibuildwheel.overrides]]
select = "cp39*"
inherit.before-all = "prepend"
before-all = ["override2"]
"""
WITH_REFERENCES = """
environment = {PATH="/opt/bin:$PATH"}
[[tool.cibuildwheel.overrides]]
select = "cp39*"
inherit.environment = "append"
environment = {PATH="/opt/local/bin:$PATH"}
"""
SEVERAL_IMAGES = """
archs = "x86_64 aarch64 armv7l riscv64"
manylinux-x86_64-image = "manylinux2014"
manylinux-aarch64-image = "example.org/own:1"
musllinux-x86_64-image = "ghcr.io/example/musllinux_1_2_x86_64:7"
[[tool.cibuildwheel.overrides]]
select = "cp312-*"
manylinux-x86_64-image = "manylinux_2_34"
musllinux-aarch64-image = "my-musl"
[[tool.cibuildwheel.overrides]]
select = ["cp313-manylinux_*", "*-manylinux_riscv64"]
manylinux-aarch64-image = "manylinux2014"
manylinux-riscv64-image = "custom"
[[tool.cibuildwheel.overrides]]
select = "*-macosx_*"
manylinux-x86_64-image = "manylinux_2_28"
"""
IMAGE_OF_PYPY = 'enable = "pypy"\nmanylinux-pypy_x86_64-image = "{}"\nmanylinux-x86_64-image = "manylinux_2_34"'
BY_PLATFORM = """
linux.repair-wheel-command = "repair-project-linux"
windows.repair-wheel-command = "repair-project-windows"
macos.repair-wheel-command = "repair-project-macos"
"""
TABLES = {
    "options_1": PYPROJECT,
    "pyproject_2": PYPROJECT_2,
    "overrides inherit": OVERRIDES_INHERIT,
    "override with references": WITH_REFERENCES,
    "requires": """test-requires = ["pytest", "pyzstd; python_version >= '3.14'", "zarr>=3"]
audit-requires = ["abi3audit; python_version >= '3.9'"]
test-command = "x" """,
    "global for a platform's default": 'repair-wheel-command = "repair-project-global"',
    "by platform": BY_PLATFORM,
    "platform before global": f'{BY_PLATFORM}\nrepair-wheel-command = "repair-project-global"',
    "unexpected key": 'repairs-wheel-command = "x"',
    "underscores in a key": 'repair_wheel_command = "x"',
    "unexpected table": 'linus.repair-wheel-command = "x"',
    "not for windows": 'windows.manylinux-x86_64-image = "manylinux1"',
    "list of numbers": "build = [1, 2]",
    "overrides are no list": 'overrides.select = "cp39*"',
    **{f"override {select}": f"[[tool.cibuildwheel.overrides]]\n{select}" for select in (
        "", 'select = ""', "select = []", "select = 123", 'select = ["cp312-*", 123]', "select = [123]",
        'select = ["cp312-*", "cp311-*"]\nbefore-build = "x"', 'select = "cp39-* cp310-*"\nbefore-test = "x"',
        'select = "cp3{9,10}-*"\ntest-extras = ["x"]', 'select = "*-macosx_*"\nbefore-all = "x"',
    )},
    "several images": SEVERAL_IMAGES,
    "image of a former policy for some": f"{SEVERAL_IMAGES}[[tool.cibuildwheel.overrides]]\nselect = 'cp311-*'\n"
    "musllinux-x86_64-image = 'musllinux_1_1'",
    "images of architectures that are not built": 'manylinux-s390x-image = "x"\nmusllinux-i686-image = "y"',
    "all architectures": 'archs = "all"',
    "another architecture": 'archs = "aarch64"\nbuild = "cp312-*"',
    "32 bits beside 64": 'archs = ["auto64", "auto32"]\nskip = "*-musllinux_i686 cp39-*"',
    "one family of one architecture": 'archs = "all"\nbuild = "*-musllinux_ppc64le cp310-manylinux_s390x"',
    "one image for PyPy as for CPython": IMAGE_OF_PYPY.format("manylinux_2_34"),
    "another image for PyPy": IMAGE_OF_PYPY.format("manylinux2014"),
    "linux": 'archs = "all"\nlinux = {archs = ["i686", "armv7l"]}',
    "settings": 'config-settings = {example = "one", other = ["two", "three"]}',
    "settings of pip": 'config-settings = {--build-option = "--use-mypyc"}',
    "platform inherits": 'before-all = "global"\nlinux = {before-all = "linux", inherit = {before-all = "prepend"}}',
    "audit inherits": 'inherit = {audit-command = "append"}\naudit-command = "twine check {wheel}"',
    "invalid rule": 'inherit = {before-all = "invalid"}',
    "invalid type of rule": 'inherit = {before-all = ["append"]}',
    "rule for no option": 'inherit = {before-buld = "append"}',
    "rule is a list": 'inherit = ["before-all"]',
    "rules as text": 'inherit = "before-all: append; test-command"\nbefore-all = "x"',
    "rule that is not supported": 'inherit.container-engine = "append"\ncontainer-engine = "podman"',
    "rule of test-runtime": 'inherit.test-runtime = "append"\ntest-runtime = "args: --configured"',
    **{f"environment {text!r}": f"environment.EXAMPLE = '''{text}'''" for text in (
        "normal value", '"value wrapped in quotes"', 'an unclosed double-quote: "', "string\nwith\nreturns\n",
        "a trailing backslash \\", "simple value", "$PARAM", "$PARAM $PARAM", "before:$PARAM:after",
        "before $PARAM after", r"before\$after", "$(pwd)/lib", "`id -u`", "$(python -c 'print(1)')",
    )},
    "environment as text": 'environment = "A=1 B=$A"',
    "environment is a list": 'environment = ["A=1"]',
    "numbers": "environment = {A = 1, B = true}\nbuild-verbosity = 1",
    **{f"engine {text}": f"container-engine = {text}" for text in (
        '"podman"', '{name = "podman"}', '"docker; create_args: --some-option"',
        '{name = "docker", create-args = ["--some-option"]}', '"docker; create_args: --network=host"',
        '{name = "docker", create-args = ["--env", "A=value that contains spaces"]}',
        '{name = "docker", create-args = ["--env", "A=value;that;contains;semicolons"]}',
        '{name = "docker", disable-host-mount = true}', '{name = "docker", disable_host_mount = true}', '"unknown"',
    )},
    **{f"front end {text}": f"build-frontend = {text}" for text in (
        '""', '"build"', '"uv"', '"default"', '{name = "build"}', '"pip; args: --some-option"',
        '{name = "pip", args = ["--some-option"]}', '"build[uv]"', '"pyodide-build"', '"poetry"', '"pip; x: y"',
    )},
    **{f"versions {text}": f"dependency-versions = {text}" for text in (
        '"pinned"', '"latest"', '"constraints file.txt"', "\"file:'constraints file.txt'\"",
        "{file = 'constraints file.txt'}", '"packages: foo==1.2.3 bar==4.5.6"', '"no such file.txt"',
        '{packages = ["foo==1.2.3", "bar"]}',
    )},
}  # fmt: skip

IMAGES = ["manylinux1", "manylinux2010", "manylinux2014", "manylinux_2_24", "manylinux_2_28", "manylinux_2_34",
          "custom_image", "custom_image:1"]  # fmt: skip
SELECTORS = ["cp3*-* *-manylinux*", "*", "cp313*", "cp36-* cp37-macosx* *-manylinux*", "cp{36,39}*", "cp3{9..11}-*", ""]
SKIPPED = ["", "pp311-* cp3?-manylinux_i686 cp36-win* *-win32", "pp37-* cp39-manylinux_i686", "*"]
ENABLED = ["", "pypy", "cpython-prerelease", "pypy pypy-eol", "pyodide-eol", "graalpy", "all", "no-such-group"]
REQUIRED = ["", ">=3.9", ">=3.9, !=3.10.*", ">=3.12.8", "<3.11"]
RULES = ["before-all; before-all-linux: prepend", "before-all: invalid", "before-all: pre pend", "before-all: 'append",
         "before-all-plan9: append", "test-command-macos: append", "before-all", "before-all: none", "test-runtime",
         "", "before-all-linux: append; test-command: prepend", "xbuild-tools: append"]  # fmt: skip
# Each is given as CIBW_X, and as CIBW_X_LINUX beside a CIBW_X that does not count.
VARIABLES: dict[str, list[str]] = {
    "REPAIR_WHEEL_COMMAND": ["", "repair", "repair -w {dest_dir} {wheel}"],
    "ENVIRONMENT": ["", 'something="value"', 'something="value" something_else="other_value"', "1=", "A='", "A=$(b|c)",
                    "PATH=$PATH:/usr/local/bin", "A=1 VAR=\"1 NOT_A_VAR=2\" VBR='vbr'", "CFLAGS=",
                    'VAR="$(echo "a   test" string)"', 'VAR="$(echo "$PARAM" string)"',
                    'SOMETHING="$(echo a; echo b; echo c)"', 'X="else;$PARAM"',
                    'V=something"like this""$PARAM"$PARAM$(echo "there is more")"$(echo "and more!")"'],
    "TEST_REQUIRES": ["", "requirement other_requirement", "'"],
    "AUDIT_REQUIRES": ["", "abi3audit", "abi3audit custom-audit-tool"],
    "AUDIT_COMMAND": ["", "twine check {wheel}", "a {abi3_wheel} && b {wheel}"],
    "TEST_EXTRAS": ["", "extras"],
    "TEST_COMMAND": ["", "test --command"],
    "BEFORE_TEST": ["", "prepare"],
    "TEST_SOURCES": ["", 'first "second third"'],
    "TEST_ENVIRONMENT": ["", "A=b C=$A"],
    "BEFORE_BUILD": ["", "before --build"],
    "BEFORE_ALL": ["", "test text"],
    "BUILD_VERBOSITY": ["0", "2", "-2", "4", "-4", "", "loud"],
    "CONFIG_SETTINGS": ["", 'setting=value setting=value2 triplet=1 triplet=2 triplet=3 other="something else"'],
    "DEPENDENCY_VERSIONS": ["pinned", "latest", "constraints file.txt", "packages: pip==21.0.0", ""],
    "ENVIRONMENT_PASS": ["", "ONE TWO"],
    "ARCHS": ["auto", "native", "auto64", "auto32", "all", "x86_64", "i686", "x86_64 i686", "aarch64", "unknown", "",
              "X86_64 I686", "ppc64le,s390x", "ARM64", "all sparc", "universal2"],
    "CONTAINER_ENGINE": ["podman", "docker; create_args: --memory=4g", "containerd"],
}  # fmt: skip
NOT_BY_PLATFORM = {
    "BUILD": [*SELECTORS, "invalid"],
    "SKIP": SKIPPED,
    "TEST_SKIP": ["cp39-*", "*-macosx_universal2:arm64", "*-macosx_arm64", "*"],
    "ENABLE": ENABLED,
    "BUILD_FRONTEND": ["build", "pip", "uv", "", "pip; args: -v"],
    "PROJECT_REQUIRES_PYTHON": REQUIRED,
    "INHERIT": RULES,
    "ALLOW_EMPTY": ["1"],
    "MANYLINUX_X86_64_IMAGE": [*IMAGES, ""],
    "MUSLLINUX_X86_64_IMAGE": ["musllinux_1_2", "custom_image", ""],
}
TESTED = {"CIBW_TEST_COMMAND": "pytest"}  # what goes with it means nothing without


def _cases() -> Iterator[tuple[str, Case]]:
    for name, table in TABLES.items():
        yield name, (table, {})
    for name, values in VARIABLES.items():
        for value in values:
            variable = f"CIBW_{name}"
            yield f"{variable}={value}", ("", {**TESTED, variable: value})
            yield f"{variable}_LINUX={value}", ("", {**TESTED, variable: "'overwritten", f"{variable}_LINUX": value})
    for name, values in NOT_BY_PLATFORM.items():
        for value in values:
            yield f"CIBW_{name}={value}", ("", {**TESTED, f"CIBW_{name}": value})
    for build, skip in product(SELECTORS[:4], SKIPPED):
        yield f"build {build} without {skip}", (f'build = "{build}"\nskip = "{skip}"\nenable = "pypy"', {})
    for enabled, more in product(ENABLED[:3], ENABLED[1:4]):
        yield f"enable {enabled} and {more}", (f'enable = "{enabled}"', {"CIBW_ENABLE": more})
    for rule in RULES:
        both = {"CIBW_BEFORE_ALL": "env", "CIBW_BEFORE_ALL_LINUX": "linux-env", "CIBW_INHERIT": rule}
        yield f"inherit {rule}", ('before-all = "config"', both)


CASES = dict(_cases())
REFUSED = "options of `docker create` that are not known are refused by name"
VARIABLE = "`--env` is one of the build's variables here, and the container's there"
AUDIT = "manywheels checks abi3 wheels itself: there is no command to add to"
MORE = "a list is taken here"
RUNTIME = "`test-runtime` means nothing on Linux, and a note says so"
DEBIANS = "Debian's and Docker's names of architectures are understood here"
DIFFERENT = {
    "audit inherits": AUDIT,
    "environment is a list": MORE,
    "rule of test-runtime": RUNTIME,
    'engine "docker; create_args: --some-option"': REFUSED,
    'engine {name = "docker", create-args = ["--some-option"]}': REFUSED,
    'engine {name = "docker", create-args = ["--env", "A=value that contains spaces"]}': VARIABLE,
    'engine {name = "docker", create-args = ["--env", "A=value;that;contains;semicolons"]}': VARIABLE,
    "another image for PyPy": "cibuildwheel reads PyPy's images, as documented, but builds in the other image",
    "CIBW_ARCHS=ARM64": DEBIANS,
    "CIBW_ARCHS_LINUX=ARM64": DEBIANS,
    "CIBW_ENVIRONMENT=1=": "no shell can have a variable of this name",
    "CIBW_ENVIRONMENT_LINUX=1=": "no shell can have a variable of this name",
}


def theirs(case: Case, folder: Path) -> dict[str, Any] | str:
    text, variables = case
    (folder / "pyproject.toml").write_text(f"[tool.cibuildwheel]\n{text}\n", encoding="utf-8")
    arguments = dataclasses.replace(CommandLineArguments.defaults(), package_dir=folder)
    try:
        options = Options("linux", arguments, dict(variables))
        chosen = options.globals
        allowed_architectures_check("linux", chosen.architectures)
        found = get_python_configurations(chosen.build_selector, chosen.architectures)
        base = options.build_options(None)
        identifiers = {configuration.identifier for configuration in found}
        if not identifiers:
            return "nothing"
        images = {
            one.identifier: container_image_for_python_configuration(one, options.build_options(one.identifier))
            for one in found
        }
        return {
            "identifiers": identifiers,
            "engine": base.container_engine.name,
            "archs": {str(arch) for arch in chosen.architectures},
            **{name: {"image": _name_of(image), **of_theirs(options, name)} for name, image in images.items()},
        }
    except (FatalError, ValueError, AttributeError, NotImplementedError) as error:
        return f"refused: {error}"


def _name_of(image: str) -> str:
    """Return the policy of a pinned image, or the image."""
    if "@" not in image:
        return image
    name = image.rpartition("/")[2].partition("@")[0]
    return next(name.removesuffix(f"_{arch}") for arch in ARCHS if name.endswith(f"_{arch}"))


def ours(case: Case, folder: Path) -> dict[str, Any] | str:
    text, variables = case
    table = tomllib.loads(f"[tool.cibuildwheel]\n{text}\n")["tool"]["cibuildwheel"]
    requires = variables.get("CIBW_PROJECT_REQUIRES_PYTHON")
    read = replace(project(), path=folder, cibuildwheel=table, requires_python=SpecifierSet(requires or ""))
    try:
        made = resolve({}, read, environment=variables)
    except (NothingToBuild, SelectionError):
        return "nothing"
    except InputError as error:
        return f"refused: {error}"
    built = candidates(made.selection, made.known_targets, read.requires_python)
    if not built and not made.left_out:
        return "nothing"
    return {
        "identifiers": {target.identifier for target in built} | {name for name, _ in made.left_out},
        "engine": parse_container_engine(made.settings.value("container-engine"), "container-engine").name,
        "archs": {target.arch for target in made.known_targets},
        **{
            target.identifier: {
                "image": made.platform_of(target).image or made.platform_of(target).policy.name,
                **of_ours(made.for_target(target), made.settings.value("repair-wheel-command", target).value),
            }
            for target in built
        },
    }


@pytest.mark.skipif(MACHINE != "x86_64", reason="the cases name this architecture")
@pytest.mark.parametrize("name", CASES)
def test_both_make_the_same_of_a_configuration(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "constraints file.txt").write_text("")
    made = ours(CASES[name], tmp_path)
    expected = theirs(CASES[name], tmp_path)
    assert _is_same(made, expected) is (name not in DIFFERENT), (made, expected)


def _is_same(made: dict[str, Any] | str, expected: dict[str, Any] | str) -> bool:
    if isinstance(expected, str) or isinstance(made, str):
        return str(expected).partition(":")[0] == str(made).partition(":")[0]
    left_out = [key for key in expected.keys() - made.keys() if not key.startswith("gp")]
    return not left_out and all(key in expected and made[key] == expected[key] for key in made)
