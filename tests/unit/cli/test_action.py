"""action.yml is the one list of inputs and outputs: everything in it is read, and everything written is in it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import ROOT
from manywheels.cli import github, main
from manywheels.cli.container_build import container_build
from manywheels.cli.github import read_request
from manywheels.cli.parser import make_parser
from manywheels.cli.request import Request
from manywheels.errors import InputError
from manywheels.plan import inputs, target_options
from manywheels.plan.assignments import Assignment
from manywheels.plan.delivery_options import Delivery, PublishOptions, resolve_delivery, resolve_publishing
from manywheels.plan.inputs import Value, declared_inputs
from manywheels.plan.options import Options, resolve
from manywheels.plan.policies import policies
from manywheels.plan.project import Project, read_project
from manywheels.plan.target_options import Repairer, TargetOptions
from manywheels.plan.targets import select
from manywheels.resources import resource
from manywheels.wheels.manifest import Shard
from unit.helpers import TARGETS, built, given, interpreter, manifest, project

ACTION: dict[str, Any] = yaml.safe_load(resource("action.yml").read_text("utf-8"))
TO_COMMANDS = {"command", "package-dir"}  # they say what is done with which project, not how


@dataclass(frozen=True)
class Resolved:
    """All that the inputs become."""

    options: Options
    delivery: Delivery
    publishing: PublishOptions

    @property
    def recipe(self) -> TargetOptions:
        """What is asked for one target."""
        return self.options.for_target(self.options.known_targets[0])

    @property
    def tests(self) -> target_options.Tests:
        """How its wheel is tested."""
        assert self.recipe.tests is not None
        return self.recipe.tests


MACHINE = os.uname().machine
# Without these commands, what goes with them means nothing.
COMMANDS = {"test-command": "pytest", "audit-command": "true"}


def resolved(entries: dict[str, Value], project: Project) -> Resolved:
    """Resolve inputs as the commands do."""
    options = resolve(entries, project, environment={})
    return Resolved(options, resolve_delivery(options.settings), resolve_publishing(options.settings))


# Each input that becomes an option: a value that is not its default, what comes of it, and a value that is refused.
OPTIONS: dict[str, tuple[str, Callable[[Resolved], object], object, str]] = {
    "output-dir": ("wheels", lambda it: it.options.output_dir, Path("wheels"), "a\nb"),
    "build": ("cp312", lambda it: it.options.selection.build, ("cp312",), ","),
    "skip": ("cp39-*", lambda it: it.options.selection.skip, ("cp39-*",), ""),
    "only": (f"cp312-manylinux_{MACHINE}", lambda it: it.options.selection.build,
             (f"cp312-manylinux_{MACHINE}",), "cp312"),
    "allow-empty": ("true", lambda it: it.options.settings.value("allow-empty").value, "true", "maybe"),
    "allow-missing": ("true", lambda it: (it.options.allow_missing, it.delivery.allow_missing,
                                          it.publishing.allow_missing), (True, True, True), "maybe"),
    "config-file": ("x.toml", lambda it: it.options.settings.value("config-file").value, "x.toml", ""),
    "platform": ("manylinux2014", lambda it: [one.policy.name for one in it.options.platforms],
                 ["manylinux2014"], "windows"),
    "archs": ("s390x aarch64", lambda it: [one.arch for one in it.options.platforms], ["s390x", "aarch64"], "vax"),
    "jobs": ("3", lambda it: it.options.jobs, 3, "many"),
    "timeout": ("90s", lambda it: it.options.timeout, 90.0, "soon"),
    "silence-limit": ("5m", lambda it: it.options.silence_limit, 300.0, "soon"),
    "compiler-cache": ("keep", lambda it: it.options.compiler_cache, "keep", "always"),
    "fresh": ("true", lambda it: it.options.fresh, True, "maybe"),
    "clear": ("true", lambda it: it.options.clear, True, "maybe"),
    "sdist": ("true", lambda it: it.options.sdist, True, "maybe"),
    "from-sdist": ("true", lambda it: it.options.from_sdist, True, "maybe"),
    "enable": ("pypy", lambda it: it.options.selection.enable, frozenset({"pypy"}), "pypi"),
    "image": ("example.org/m:1", lambda it: it.options.platforms[0].image, "example.org/m:1", "a b"),
    "shard": ("2/5", lambda it: it.options.shard, Shard(index=2, count=5), "6/5"),
    "test-in": ("python:3.12-slim", lambda it: it.tests.image, "python:3.12-slim", "no image"),
    "test-timeout": ("90s", lambda it: it.options.test_timeout, 90.0, "soon"),
    "config-settings": ("a=b", lambda it: it.recipe.config_settings, ("a=b",), "'"),
    "environment": ("A=b", lambda it: it.recipe.environment, (Assignment(name="A", value=("b",)),), "A"),
    "build-frontend": ("pip", lambda it: it.recipe.front_end.name, "pip", "poetry"),
    "build-verbosity": ("2", lambda it: it.recipe.front_end.verbosity, 2, "4"),
    "dependency-versions": ("packages: a==1", lambda it: it.recipe.constraints.packages, ("a==1",), "none.txt"),
    "before-all": ("make deps", lambda it: it.recipe.before_all and it.recipe.before_all.command, "make deps", "a\0"),
    "before-build": ("make it", lambda it: it.recipe.before_build, "make it", "a\0"),
    "repair-wheel-command": ("none", lambda it: it.recipe.repair.by, Repairer.NONE, "a\0"),
    "repair-exclude": ("liba.so", lambda it: it.recipe.repair.exclude, ("liba.so",), "'"),
    "repair-strip": ("true", lambda it: it.recipe.repair.strip, True, "maybe"),
    "audit-command": ("look", lambda it: it.recipe.audit and it.recipe.audit.command, "look", "a\0"),
    "audit-requires": ("abi3audit", lambda it: it.recipe.audit and it.recipe.audit.requires, ("abi3audit",), "'"),
    "test-command": ("pytest -x", lambda it: it.tests.command, "pytest -x", "a\0"),
    "test-skip": ("*", lambda it: it.recipe.tests, None, ""),
    "before-test": ("make data", lambda it: it.tests.before, "make data", "a\0"),
    "test-requires": ("a 'b>1'", lambda it: it.tests.requires, ("a", "b>1"), "'"),
    "test-extras": ("a,b", lambda it: it.tests.extras, ("a", "b"), "a[b]"),
    "test-groups": ("a b", lambda it: it.tests.groups, ("a", "b"), "'"),
    "test-sources": ("a 'b c'", lambda it: it.tests.sources, ("a", "b c"), "'"),
    "test-environment": ("A=b", lambda it: it.tests.environment, (Assignment(name="A", value=("b",)),), "A=$(b|c)"),
    "environment-pass": ("A B", lambda it: it.options.environment_pass, ("A", "B"), "'"),
    "verbose": ("true", lambda it: it.options.verbose, True, "maybe"),
    "report": ("out/r.html", lambda it: it.delivery.report, Path("out/r.html"), "a\nb"),
    "trace": ("out/t.json", lambda it: it.delivery.trace, Path("out/t.json"), "a\nb"),
    "publish": ("artifact", lambda it: it.delivery.publish, "artifact", "everywhere"),
    "artifact-name": ("wheels-1", lambda it: it.delivery.artifact_name, "wheels-1", "a/b"),
    "artifact-pattern": ("wheels-*", lambda it: it.delivery.artifact_pattern, "wheels-*", "a/*"),
    "foreign": ("cibw-* 'a b'", lambda it: it.delivery.foreign, ("cibw-*", "a b"), "'"),
    "manifest-digest": (f"sha256:{'AB' * 32}", lambda it: it.delivery.manifest_digests, ("ab" * 32,), "sha256:12"),
    "retention-days": ("5", lambda it: it.delivery.retention_days, 5, "-1"),
    "overwrite": ("true", lambda it: it.delivery.overwrite, True, "maybe"),
    "repository-url": ("testpypi", lambda it: it.publishing.repository, "testpypi", "a\nb"),
    "check-url": ("https://h/simple/", lambda it: it.publishing.check_url, "https://h/simple/", "a\nb"),
    "index-rules": ("none", lambda it: it.publishing.index_rules, "none", "some"),
    "packages-dir": ("out", lambda it: it.publishing.packages_dir, Path("out"), "a\nb"),
    "skip-existing": ("true", lambda it: it.publishing.skip_existing, True, "maybe"),
    "attestations": ("false", lambda it: it.publishing.attestations, False, "maybe"),
    "keep-attestations": ("true", lambda it: it.publishing.keep_attestations, True, "maybe"),
    "verify-metadata": ("false", lambda it: it.publishing.verify_metadata, False, "maybe"),
    "print-hash": ("true", lambda it: it.publishing.print_hash, True, "maybe"),
    "user": ("me", lambda it: it.publishing.user, "me", ""),
    "password": ("secret", lambda it: it.publishing.password, "secret", ""),
    "confirm": ("5m", lambda it: it.publishing.confirm, 300.0, "soon"),
    "dry-run": ("true", lambda it: it.publishing.dry_run, True, "maybe"),
}  # fmt: skip


def test_the_table_above_is_whole() -> None:
    assert set(OPTIONS) == set(declared_inputs()) - TO_COMMANDS


@pytest.mark.parametrize("name", OPTIONS)
def test_every_input_becomes_an_option(name: str) -> None:
    value, option, expected, _ = OPTIONS[name]
    assert option(resolved({name: given(value)}, project(**COMMANDS))) == expected
    if name not in inputs.hidden():
        assert option(resolved({}, project(**COMMANDS | {name: value}))) == expected
    assert option(resolved({}, project(**COMMANDS))) != expected


@pytest.mark.parametrize("name", [name for name, (*_, refused) in OPTIONS.items() if refused])
def test_every_input_is_checked(name: str) -> None:
    *_, refused = OPTIONS[name]
    with pytest.raises(InputError) as caught:
        resolved({name: given(refused, f"input `{name}`")}, project())
    assert f"input `{name}`" in caught.value.message


@pytest.mark.parametrize("name", declared_inputs())
def test_every_default_is_accepted(name: str) -> None:
    default = declared_inputs()[name].default
    if name in TO_COMMANDS:
        request = read_request({f"INPUT_{name.upper()}": default})
        assert (request.command, request.paths) == ("build", (Path(),))
    else:
        written, without = resolved({name: given(default)}, project()), resolved({}, project())
        # whoever writes out the default's targets asks for them by name
        assert written.options.selection.by_name is (name == "build")
        selection = replace(written.options.selection, by_name=False, is_default=without.options.selection.is_default)
        assert replace(written, options=replace(written.options, selection=selection)) == without


@pytest.mark.parametrize("name", declared_inputs())
def test_every_input_is_described(name: str) -> None:
    entry = ACTION["inputs"][name]
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name)
    assert entry["description"].strip()
    assert isinstance(entry["default"], str), "YAML must not make a number or a truth value of it"
    assert set(entry) == {"description", "default"}


@pytest.mark.parametrize("command", ["build", "plan", "publish"])
def test_every_input_is_an_option_of_the_command_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main([command, "--help"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    taken = [entry.name for entry in inputs.inputs_of(command)]
    missing = [name for name in taken if not re.search(rf"^\s+(?:-\w.*, )?--{name}\b", told, re.MULTILINE)]
    assert missing == []


def test_every_input_is_an_option_of_some_command() -> None:
    taken = {entry.name for command in inputs.COMMANDS for entry in inputs.inputs_of(command)}
    # Every user of a machine can read the arguments of its processes.
    assert set(OPTIONS) - taken == {"password"}


@pytest.mark.parametrize(
    ("command", "name"),
    [(command, entry.name) for command in ("build", "plan", "publish") for entry in inputs.inputs_of(command)],
)
def test_every_option_of_the_command_line_is_given(command: str, name: str) -> None:
    value = OPTIONS[name][0]
    words = [f"--{name}"] if name in inputs.flags() else [f"--{name}", value]
    request = main.request_of(make_parser().parse([command, *words]))
    assert {known: (entry.value, str(entry.origin)) for known, entry in request.given.items()} == {
        name: (value, f"--{name}")
    }


def handed_in(**values: str) -> tuple[str, ...]:
    """Return the arguments of the program in a container, for inputs with these values."""
    entries = {name.replace("_", "-"): given(value) for name, value in values.items()}
    project = read_project(ROOT / "tests/projects/pure")
    request = Request(command="build", paths=(project.path,), given=entries)
    options = resolve(entries, project)
    platform = options.platforms[0]
    targets = [target for target in options.selected if options.platform_of(target) == platform]
    return container_build(request, project, options, platform, targets, leads=True).arguments


def test_a_container_is_handed_what_its_command_line_takes_and_no_secret() -> None:
    """Arguments are seen by everybody who may ask the engine, and printed where they are refused."""
    arguments = handed_in(**{name: value for name, (value, *_) in OPTIONS.items()} | {"archs": MACHINE})
    asked = main.request_of(make_parser().parse(["build", *arguments]))
    building = {entry.name for entry in inputs.inputs_of("plan")} - {"output-dir", "image", "config-file", "shard"}
    assert {name: entry.value for name, entry in asked.given.items()} == {
        **{name: OPTIONS[name][0] for name in building}, "archs": MACHINE, "report": "", "trace": "",
    }  # fmt: skip
    assert asked.part == (OPTIONS["only"][0],)
    assert "secret" not in " ".join(arguments)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_container_understands_every_input(name: str) -> None:
    make_parser().parse(["build", *handed_in(**{name: OPTIONS[name][0]})])


def test_a_container_is_handed_a_switch_only_where_it_is_on() -> None:
    handed = {value: "--repair-strip" in handed_in(repair_strip=value) for value in ("true", "yes", "false", "no")}
    assert handed == {"true": True, "yes": True, "false": False, "no": False}


def test_an_unknown_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(["build", "--bild", "x"])
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert "MW001" in told
    assert "--help" in told


def test_default_targets_are_the_released_cpythons_with_the_gil() -> None:
    options = resolve({}, project())
    plan = select(options.selection, TARGETS, [interpreter(known.tag) for known in TARGETS], None)
    assert [entry.target.tag for entry in plan.targets] == ["cp39", "cp310", "cp311", "cp312", "cp313", "cp314"]
    assert len(options.selection.build) == len(plan.targets), "each pattern matches one target"


@pytest.mark.parametrize("words", ["cp312-manylinux_x86_64", "cp312", "3.12"])
def test_patterns_in_the_description_are_understood(words: str) -> None:
    assert f"`{words}`" in declared_inputs()["build"].description
    options = resolve({"build": given(words)}, project())
    plan = select(options.selection, TARGETS, [interpreter("cp312")], None)
    assert [entry.target.tag for entry in plan.targets] == ["cp312"]


def test_policies_in_the_description_are_known() -> None:
    named = re.findall(r"`((?:many|musl)linux\w+)`", declared_inputs()["platform"].description)
    assert named
    assert set(named) <= {policy.name for policy in policies()}


def test_commands_in_the_description_are_the_commands() -> None:
    assert tuple(re.findall(r"`(\w+)`", declared_inputs()["command"].description)) == inputs.COMMANDS


def test_every_output_is_written_and_every_written_one_declared() -> None:
    assert set(github._outputs(manifest(built()), Path("dist"))) <= set(ACTION["outputs"])
    assert all(entry["description"].strip() for entry in ACTION["outputs"].values())


def test_the_action_is_a_container_action_with_its_files() -> None:
    assert ACTION["runs"] == {"using": "docker", "image": "Dockerfile"}
    for name in ("Dockerfile", "entrypoint.py", "requirements/image.txt"):
        assert resource(name).is_file()
