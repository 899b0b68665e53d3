"""Where an option's value comes from, and what it becomes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from manywheels.errors import InputError, SelectionError
from manywheels.plan import option_types
from manywheels.plan.assignments import expand
from manywheels.plan.inputs import declared_inputs
from manywheels.plan.options import resolve
from manywheels.plan.project import read_project
from manywheels.plan.settings import setting_variables
from manywheels.plan.target_options import Constraints, FrontEnd, Repair
from manywheels.plan.targets import select_where
from unit.helpers import given, project, target, write_project

MACHINE = os.uname().machine


def test_defaults() -> None:
    options = resolve({}, project())
    assert options.output_dir == Path("dist")
    assert options.selection.build == ("cp39-*", "cp310-*", "cp311-*", "cp312-*", "cp313-*", "cp314-*")
    assert options.selection.skip == ()
    assert [platform.tag for platform in options.platforms] == [f"manylinux_2_28_{MACHINE}"]
    assert (options.jobs, options.timeout) == (None, 3600.0)
    recipe = options.for_target(target("cp312"))
    assert (recipe.config_settings, recipe.environment, recipe.environment_pass) == ((), (), ())
    assert (recipe.front_end, recipe.constraints, recipe.repair) == (FrontEnd(), Constraints(), Repair())
    assert (recipe.before_all, recipe.before_build, recipe.audit, recipe.tests) == (None, "", None, None)
    assert (options.notes, options.left_out) == ((), ())
    assert (options.verbose, options.toolchain) == (False, "auto")


def test_what_is_given_comes_before_the_project_and_the_project_before_the_default() -> None:
    options = resolve({"jobs": given("3")}, project(jobs=2, timeout="5m"))
    assert (options.jobs, options.timeout) == (3, 300.0)


def test_default_targets_were_not_asked_for_by_name() -> None:
    assert not resolve({}, project()).selection.by_name
    assert resolve({"build": given("cp39-*")}, project()).selection.by_name
    assert resolve({}, project(build=["cp39-*"])).selection.by_name


def test_the_default_written_out_is_asked_for_by_name() -> None:
    written = {"build": given(declared_inputs()["build"].default)}
    theirs = {"build": "cp31?t-*", "enable": ["cpython-freethreading"]}
    for settings in (project(enable="cpython-freethreading"), replace(project(), cibuildwheel=theirs)):
        selection = resolve(written, settings, environment={}).selection
        assert selection.by_name
        assert " ".join(selection.build) == declared_inputs()["build"].default


@pytest.mark.parametrize(
    ("platform", "name", "first"),
    [
        ("manylinux2014", "manylinux2014", f"cp38-manylinux_{MACHINE}"),
        ("manylinux_2_17", "manylinux2014", f"cp38-manylinux_{MACHINE}"),
        ("musllinux_1_2", "musllinux_1_2", f"cp38-musllinux_{MACHINE}"),
    ],
)
def test_the_platform_decides_the_targets(platform: str, name: str, first: str) -> None:
    options = resolve({"platform": given(platform)}, project())
    assert [one.policy.name for one in options.platforms] == [name]
    assert options.known_targets[0].identifier == first


def test_a_part_has_its_targets_alone_with_all_that_is_theirs() -> None:
    names = ["cp311-manylinux_x86_64", "cp312-musllinux_x86_64"]
    override = {"select": "*-musllinux_*", "before-build": "apk add x", "image": "example.org/m:1"}
    whole = resolve(
        {"archs": given("x86_64"), "platform": given("manylinux_2_28 musllinux_1_2"), "shard": given("1/2"),
         "skip": given("cp39-*")},
        project(before_build="make", overrides=[override]), environment={},
    )  # fmt: skip
    part = whole.of_part(names)
    assert [known.identifier for known in part.known_targets] == names
    assert part.selected == part.known_targets
    assert [platform.image for platform in part.platforms] == ["", "example.org/m:1"]
    assert [part.for_target(known).before_build for known in part.known_targets] == ["make", "apk add x"]
    assert part.shard is None
    plan = select_where(part.selection, part.known_targets, lambda _: None, None)
    assert plan.identifiers == tuple(names)
    assert plan.excluded == ()


def test_a_part_of_an_enabled_group_is_not_left_out() -> None:
    whole = resolve({"archs": given("x86_64"), "enable": given("all")}, project(), environment={})
    part = whole.of_part(["cp38-manylinux_x86_64", "cp313t-manylinux_x86_64"])
    plan = select_where(part.selection, part.known_targets, lambda _: None, None)
    assert plan.identifiers == ("cp38-manylinux_x86_64", "cp313t-manylinux_x86_64")


def test_a_part_with_a_target_that_is_not_known_is_refused() -> None:
    with pytest.raises(InputError, match="--part: there is no target cp312-musllinux_x86_64, cp9-x here"):
        resolve({"archs": given("x86_64")}, project(), environment={}).of_part(
            ["cp312-manylinux_x86_64", "cp9-x", "cp312-musllinux_x86_64"]
        )


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("platform", "manylinux_2_82", "`manylinux_2_28`"),
        ("platform", "manylinux_2_28_x86_64", "`manylinux_2_28`"),
        ("build", "", "cp312"),
        ("build", " , ", "cp312"),
        ("jobs", "x", "auto"),
        ("timeout", "soon", "60m"),
        ("output-dir", "", "path"),
        ("verbose", "maybe", "true"),
        ("environment", "A", "NAME=value"),
        ("environment-pass", "'", "quotes"),
        ("config-settings", "'", "quotes"),
    ],
)
def test_refusals_name_the_origin_and_what_is_allowed(name: str, value: str, allowed: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve({name: given(value, f"--{name}")}, project())
    assert caught.value.message.startswith(f"--{name}: `{value}`")
    assert allowed in caught.value.remedy
    with pytest.raises(InputError) as caught:
        resolve({}, project(**{name: value}))
    assert caught.value.message.startswith(f"[tool.manywheels] {name}: `{value}`")


def test_variables_come_before_the_defaults_and_after_the_project() -> None:
    environment = {"MANYWHEELS_JOBS": "1", "MANYWHEELS_TIMEOUT": "1m", "MANYWHEELS_SKIP": "cp39"}
    options = resolve({"jobs": given("3")}, project(timeout="5m"), environment=environment)
    assert (options.jobs, options.timeout, options.selection.skip) == (3, 300.0, ("cp39",))


def test_a_variable_that_is_nearly_one_is_told_of() -> None:
    assert resolve({}, project(), environment={"MANYWHEELS_SKPI": "cp39"}).notes == (
        "The variable MANYWHEELS_SKPI is not read; did you mean MANYWHEELS_SKIP?",
    )


@pytest.mark.parametrize(
    ("enable", "added"),
    [("", ()), ("pypy", ("pp311", "pp312")), ("cpython-eol cpython-freethreading", ("cp38", "cp313t")),
     ("all", ("cp38", "cp313t", "pp39", "pp310", "pp311", "pp312"))],
)  # fmt: skip
def test_enabled_groups_are_added_to_the_default(enable: str, added: tuple[str, ...]) -> None:
    selection = resolve({"enable": given(enable)}, project(), environment={}).selection
    assert selection.build[6:] == added
    assert not selection.by_name


def test_what_is_enabled_is_not_added_to_what_was_asked_for() -> None:
    selection = resolve({"enable": given("pypy"), "build": given("cp312")}, project(), environment={}).selection
    assert selection.build == ("cp312",)


@pytest.mark.parametrize(
    ("settings", "platform", "image"),
    [
        ({"image": "example.org/m:1"}, "manylinux_2_28", "example.org/m:1"),
        ({"platform": "manylinux2014", "image": "example.org/m@sha256:12"}, "manylinux2014", "example.org/m@sha256:12"),
        ({f"manylinux-{MACHINE}-image": "manylinux2014"}, "manylinux2014", ""),
        ({f"manylinux-{MACHINE}-image": f"example.org/manylinux_2_34_{MACHINE}:7"}, "manylinux_2_34",
         f"example.org/manylinux_2_34_{MACHINE}:7"),
        ({f"manylinux-{MACHINE}-image": "example.org/own:7"}, "manylinux_2_28", "example.org/own:7"),
        ({f"manylinux-{MACHINE}-image": "manylinux2014", "platform": "manylinux_2_34"}, "manylinux_2_34", ""),
        ({"manylinux-s390x-image": "manylinux2014"}, "manylinux_2_28", ""),
        ({f"musllinux-{MACHINE}-image": "example.org/m:1"}, "manylinux_2_28", ""),
        ({f"musllinux-{MACHINE}-image": "example.org/m:1", "platform": "musllinux_1_2"}, "musllinux_1_2",
         "example.org/m:1"),
    ],
)  # fmt: skip
def test_images_and_the_policies_that_they_stand_for(settings: dict[str, str], platform: str, image: str) -> None:
    options = resolve({}, replace(project(), settings=settings), environment={})
    assert [(one.policy.name, one.image) for one in options.platforms] == [(platform, image)]


def test_a_policy_that_is_none_is_refused_where_an_image_names_it() -> None:
    with pytest.raises(InputError, match=rf"manylinux-{MACHINE}-image: `manylinux2010` is not a value of `platform`"):
        resolve({}, replace(project(), settings={f"manylinux-{MACHINE}-image": "manylinux2010"}), environment={})


def test_overrides_are_for_the_targets_that_they_select() -> None:
    options = resolve({}, project(before_build="make", overrides=[
        {"select": "cp312", "before-build": "make it", "environment": {"A": "1"}},
        {"select": ["cp31{2,3}-*"], "build-verbosity": 1},
    ]), environment={})  # fmt: skip
    twelve, thirteen, nine = (options.for_target(target(tag)) for tag in ("cp312", "cp313", "cp39"))
    assert [recipe.before_build for recipe in (twelve, thirteen, nine)] == ["make it", "make", "make"]
    assert [recipe.front_end.verbosity for recipe in (twelve, thirteen, nine)] == [1, 1, 0]
    assert [expand(recipe.environment, {}) for recipe in (twelve, thirteen, nine)] == [{"A": "1"}, {}, {}]


AUDITWHEEL = "auditwheel repair -w {dest_dir} {wheel}"


@pytest.mark.parametrize(
    ("name", "below", "above", "append", "prepend"),
    [
        ("before-build", "a", "b", "a && b", "b && a"),
        ("test-command", ["a", "b"], "c", "a && b && c", "c && a && b"),
        ("environment-pass", ["A"], "B", "A B", "B A"),
        ("test-requires", ["a>1"], ["b"], "'a>1' b", "b 'a>1'"),
        ("test-extras", ["a"], ["b", "c"], "a,b,c", "b,c,a"),
        ("environment", {"A": "1"}, {"B": "$A"}, 'A="1" B="$A"', 'B="$A" A="1"'),
        ("config-settings", {"a": "1", "b": "2"}, {"a": "3", "c": "4"}, "a=3 b=2 c=4", "a=1 c=4 b=2"),
        ("before-build", "", "b", "b", "b"),
        ("repair-wheel-command", "auditwheel", "b", f"{AUDITWHEEL} && b", f"b && {AUDITWHEEL}"),
        ("repair-wheel-command", "a", "auditwheel", f"a && {AUDITWHEEL}", f"{AUDITWHEEL} && a"),
        ("repair-wheel-command", "none", "b", "b", "b"),
        ("repair-wheel-command", "a", "none", "a", "a"),
    ],
)
def test_overrides_inherit(name: str, below: object, above: object, append: str, prepend: str) -> None:
    for rule, expected in (("append", append), ("prepend", prepend)):
        override = {"select": "cp312", name: above, "inherit": {name: rule}}
        options = resolve({}, project(**{name: below, "overrides": [override]}), environment={})
        assert options.settings.value(name, target("cp312")).value == expected
        assert options.settings.value(name).value == option_types.write(name, below, "")


def test_what_is_given_comes_before_overrides() -> None:
    override = {"select": "*", "before-build": "make it"}
    options = resolve({"before-build": given("make all")}, project(overrides=[override]), environment={})
    assert options.for_target(target("cp312")).before_build == "make all"


def test_the_origin_names_everything_that_a_value_is_made_of() -> None:
    override = {"select": "cp312", "before-build": "b", "inherit": {"before-build": "append"}}
    settings = resolve({}, project(before_build="a", overrides=[override]), environment={}).settings
    assert str(settings.value("before-build", target("cp312")).origin) == (
        "[tool.manywheels] before-build + [[tool.manywheels.overrides]] 1 before-build"
    )


@pytest.mark.parametrize(
    ("override", "message", "remedy"),
    [
        ({"before-build": "x"}, "`select` names no targets", "pattern"),
        ({"select": [], "before-build": "x"}, "`select` names no targets", "pattern"),
        ({"select": "cp399-*"}, "the pattern `cp399-*` matches no target", "cp39-*"),
        ({"select": "cp312", "before-biuld": "x"}, "`before-biuld` (did you mean `before-build`?)", "environment"),
        ({"select": "cp312", "jobs": 3}, "no such option that an override can have: `jobs`", "before-build"),
        ({"select": "cp312", "before-build": 1, "inherit": {"environment": "append"}}, "`environment`", "before-build"),
        ({"select": "cp312", "before-build": "a", "inherit": {"before-build": "after"}}, "table of rules", "append"),
        ({"select": "cp312", "before-build": "a", "inherit": "'"}, "not a value of `inherit`", "balanced quotes"),
        ({"select": "cp312", "before-build": {"a": "b"}}, "1 before-build: a value of this type", "list of strings"),
        ({"select": "cp399-*-musllinux*", "environment": "A"}, "matches no target", "Did you mean"),
        ({"select": "*-musllinux_*", "environment": "A"}, "1 environment: `A` is not a value", "NAME=value"),
        ({"select": "*-musllinux_*", "image": "a b"}, "1 image: `a b` is not a value", "an image reference"),
        ({"select": "cp312", "platform": "musllinux_1_2"}, "that an override can have: `platform`", "image"),
    ],
)
def test_refused_overrides(override: dict[str, object], message: str, remedy: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve({}, project(overrides=[override]), environment={})
    assert caught.value.message.startswith("[[tool.manywheels.overrides]] 1")
    assert message in caught.value.message
    assert remedy in caught.value.remedy


def test_what_has_one_value_cannot_be_appended_to() -> None:
    override = {"select": "cp312", "build-verbosity": 1, "inherit": {"build-verbosity": "append"}}
    with pytest.raises(InputError, match="cannot join to"):
        resolve({}, project(overrides=[override]), environment={})


def test_overrides_that_are_no_list_of_tables_are_refused() -> None:
    with pytest.raises(InputError, match="not a list of tables"):
        resolve({}, project(overrides={"select": "cp312"}), environment={})


def test_tests_are_skipped_where_they_shall_be() -> None:
    options = resolve({}, project(test_command="pytest", test_skip="cp31?-*"), environment={})
    tested = [known.tag for known, own in options.by_target.items() if own.tests]
    assert tested == ["cp38", "cp39", "cp313t", "cp314t", "cp315t", "pp39", "pp310", "pp311", "pp312"]


def test_a_pattern_of_test_skip_that_means_nothing_is_refused() -> None:
    with pytest.raises(SelectionError, match="`test-skip`: the pattern `cp399-\\*` matches no target"):
        resolve({}, project(test_command="pytest", test_skip="cp399-*"), environment={})


def test_a_container_is_told_what_any_target_may_see() -> None:
    override = {"select": "cp312", "environment-pass": "B"}
    assert set(resolve({}, project(environment_pass="A", overrides=[override])).environment_pass) == {"A", "B"}


def test_a_constraints_file_must_be_there_and_in_the_project(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "p", settings='dependency-versions = "pins.txt"')
    with pytest.raises(InputError, match=r"\[tool.manywheels\] dependency-versions: there is no file `pins.txt`"):
        resolve({}, read_project(folder))
    (tmp_path / "secret.txt").write_text("a==1\n")
    (folder / "pins.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(InputError, match="there is no file"):
        resolve({}, read_project(folder))
    (folder / "pins.txt").unlink()
    (folder / "pins.txt").write_text("a==1\n")
    assert resolve({}, read_project(folder)).for_target(target("cp312")).constraints == Constraints(file="pins.txt")


def test_settings_of_the_caller_go_into_containers_and_the_password_does_not() -> None:
    caller = {
        "MANYWHEELS_SKIP": "x",
        "MANYWHEELS_PASSWORD": "x",
        "MANYWHEELS_CACHE": "x",
        "CIBW_BUILD": "x",
        "PATH": "x",
    }
    assert setting_variables(caller) == ("MANYWHEELS_SKIP", "CIBW_BUILD")
