"""What one target's build is, in the same words, by cibuildwheel's options and by ours."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from cibuildwheel.options import ListFormat, Options
from cibuildwheel.util.resources import CONSTRAINTS

from manywheels.plan import assignments
from manywheels.plan.target_options import TargetOptions, fill, fill_values

SAME = {"uv": "build"}  # the front ends where none is named
BEFORE = {"PATH": "/bin", "HOME": "/root", "PARAM": "spam"}
CONTAINER = {"project": "/project"}  # where the project is there
AUDITWHEEL = "auditwheel repair -w {dest_dir} {wheel}"  # its default, and what `auditwheel` stands for
AUDIT = "abi3audit --strict --report {abi3_wheel}"  # its default; manywheels has none


def shown(command: Sequence[str], _: Mapping[str, str]) -> str:
    """Return a command as its own output."""
    return f"<{'|'.join(command)}>\n"


def _expanded(made: tuple[assignments.Assignment, ...]) -> dict[str, str]:
    return assignments.expand(assignments.evaluate(made, BEFORE, lambda _: shown), BEFORE)


def of_ours(recipe: TargetOptions, repair: str) -> dict[str, object]:
    tests = recipe.tests
    return {
        "repair": fill({"auditwheel": AUDITWHEEL, "none": ""}.get(repair, repair), **CONTAINER),
        "audit": (recipe.audit.command, recipe.audit.requires) if recipe.audit else None,
        "dependency-versions": (recipe.constraints.file, recipe.constraints.packages),
        "environment": _expanded(fill_values(recipe.environment, **CONTAINER)),
        "environment-pass": recipe.environment_pass,
        "config-settings": recipe.config_settings,
        "build-verbosity": recipe.front_end.verbosity,
        "front-end": (SAME.get(recipe.front_end.name, recipe.front_end.name), recipe.front_end.arguments),
        "before-all": recipe.before_all.command if recipe.before_all else "",
        "before-build": recipe.before_build,
        "tests": tests
        and (tests.command, tests.before, tests.requires, ",".join(tests.extras), tests.groups, tests.sources,
             _expanded(tests.environment)),
    }  # fmt: skip


def of_theirs(options: Options, identifier: str) -> dict[str, object]:
    with options.reader.identifier(identifier):
        passed = tuple(options.reader.get("environment-pass", option_format=ListFormat(sep=" ")).split())
        groups = tuple(options.reader.get("test-groups", option_format=ListFormat(sep=" ")).split())
    built = options.build_options(identifier)
    tested = built.test_command and options.globals.test_selector(identifier)
    pins = built.dependency_constraints
    pinned = pins.base_file_path is None or pins.base_file_path.resolve() == CONSTRAINTS.resolve()
    file = "" if pinned or pins.base_file_path is None else pins.base_file_path.name
    audited = " && ".join(built.audit_command)
    return {
        "repair": fill(built.repair_command.strip(), **CONTAINER),
        "audit": (audited, tuple(built.audit_requires)) if audited not in {"", AUDIT} else None,
        "dependency-versions": (file, tuple(pins.packages)),
        "environment": built.environment.as_dictionary(BEFORE, executor=shown),
        "environment-pass": passed,
        "config-settings": tuple(shlex.split(built.config_settings)),
        "build-verbosity": built.build_verbosity,
        "front-end": (SAME.get(built.build_frontend.name, built.build_frontend.name), tuple(built.build_frontend.args)),
        "before-all": built.before_all.strip(),
        "before-build": (built.before_build or "").strip(),
        "tests": (built.test_command.strip(), (built.before_test or "").strip(), tuple(built.test_requires),
                  built.test_extras.strip("[]"), groups, tuple(built.test_sources),
                  built.test_environment.as_dictionary(BEFORE, executor=shown))
        if tested and built.test_command
        else None,
    }  # fmt: skip
