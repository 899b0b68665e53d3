"""GitLab's templates: they say what action.yml says, no shell reads an input, and what is generated is up to date."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import BASE_IMAGE, ROOT
from manywheels import __version__
from manywheels.plan.inputs import declared_inputs, gitlab_defaults

NAMES = ("build-wheels", "publish", "wheels")
# What action.yml has and the templates have not, or otherwise, each with the reason.
ELSEWHERE = {
    "command": "each template is a command",
    "image": "it is the job's own image here",
    "shard": "`parallel` says it",
    "report": "the jobs always write one, as an artifact",
    "trace": "the report has its lanes",
    "publish": "it is a job of its own",
    "fresh": "a job has no wheels of an earlier one",
    "clear": "a job has no wheels of an earlier one",
    "packages-dir": "it is what the jobs before built",
    "password": "it would stand in the configuration; GitLab's variables are for that",
    **dict.fromkeys(
        ("artifact-name", "artifact-pattern", "manifest-digest", "retention-days", "overwrite"), "GitHub's"
    ),
}


def load(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    header, body = yaml.safe_load_all(path.read_text("utf-8"))
    return header["spec"], body


def template(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the inputs and the jobs of ci-templates/<name>.yml."""
    spec, body = load(ROOT / "ci-templates" / f"{name}.yml")
    return spec["inputs"], body


def jobs(name: str) -> dict[str, dict[str, Any]]:
    return {job: entry for job, entry in template(name)[1].items() if not job.startswith(".")}


def as_text(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


def test_what_is_generated_is_up_to_date() -> None:
    files = runpy.run_path(str(ROOT / "docs/gitlab.py"))["generated"]()
    assert len(files) == 7
    assert [path.name for path, text in files.items() if path.read_text("utf-8") != text] == []


@pytest.mark.parametrize("name", NAMES)
def test_inputs_of_the_action_have_its_names_defaults_and_meanings(name: str) -> None:
    declared = {known: entry for known, entry in declared_inputs().items() if known not in ELSEWHERE}
    shared = {known: entry for known, entry in template(name)[0].items() if known in declared}
    assert len(shared) > 10
    assert {known: (as_text(entry["default"]), entry["description"]) for known, entry in shared.items()} == {
        known: (gitlab_defaults().get(known, declared[known].default), declared[known].description) for known in shared
    }


def test_no_input_of_the_action_is_forgotten() -> None:
    assert set(declared_inputs()) - set(template("wheels")[0]) == set(ELSEWHERE) - {"image"}


def test_the_template_for_both_has_the_inputs_of_both() -> None:
    both = template("wheels")[0]
    renamed = {"stage", "rules", "image"}
    for name in ("build-wheels", "publish"):
        for known, entry in template(name)[0].items():
            other = f"publish-{known}" if name == "publish" and known in renamed else known
            assert known == "needs" or both[other] == entry, known


@pytest.mark.parametrize("name", NAMES)
def test_no_shell_and_no_expansion_reads_an_input(name: str) -> None:
    for job in jobs(name).values():
        scripts = [job.get(part, []) for part in ("before_script", "script", "after_script")]
        assert "$[[" not in str(scripts)
        given = {variable: value for variable, value in job["variables"].items() if "$[[" in str(value)}
        assert len(given) > 5
        assert [variable for variable, value in given.items() if value.get("expand") is not False] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_input_is_used_and_every_use_is_an_input(name: str) -> None:
    inputs, body = template(name)
    text = yaml.safe_dump(body, width=10_000)
    assert set(re.findall(r"\$\[\[ inputs\.([\w-]+) \]\]", text)) == set(inputs)
    assert "$[[ component" not in text  # GitLab refuses it where the file is not a component


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_what_their_inputs_allow(name: str) -> None:
    types = {"string": str, "boolean": bool, "number": int, "array": list}
    for known, entry in template(name)[0].items():
        assert entry["description"]
        assert type(entry["default"]) is types[entry.get("type", "string")], known
        assert re.search(entry.get("regex", ""), as_text(entry["default"])), known


@pytest.mark.parametrize("name", NAMES)
def test_a_component_is_the_template_with_the_program_at_its_own_commit(name: str) -> None:
    spec, body = load(ROOT / "templates" / f"{name}.yml")
    inputs = template(name)[0]
    assert spec == {
        "component": ["sha"],
        "inputs": {known: entry for known, entry in inputs.items() if known != "revision"},
    }
    assert body == {
        "include": [
            {
                "local": f"/ci-templates/{name}.yml",
                "inputs": {known: f"$[[ inputs.{known} ]]" for known in inputs} | {"revision": "$[[ component.sha ]]"},
            }
        ]
    }


def test_releases_are_taken_from_their_own_tag_and_jobs_run_in_the_image_of_the_action() -> None:
    inputs = template("wheels")[0]
    assert inputs["revision"]["default"] == f"v{__version__}"
    tag = BASE_IMAGE.rpartition(":")[2]
    assert inputs["image"]["default"].endswith(f"/${{MANYWHEELS_INPUT_PLATFORM}}:{tag}")
    assert inputs["publish-image"]["default"].endswith(f"/{inputs['platform']['default']}:{tag}")


def test_only_the_publishing_job_can_have_identity_tokens() -> None:
    assert [name for name, job in jobs("wheels").items() if "id_tokens" in job] == ["$[[ inputs.job-prefix ]]publish"]


def test_every_job_has_its_own_stage_whatever_another_include_made_of_the_hidden_one() -> None:
    stages = {name: job["stage"] for name, job in jobs("wheels").items()}
    assert list(stages.values()) == ["$[[ inputs.stage ]]", "$[[ inputs.publish-stage ]]"]


def test_merge_requests_do_not_build_what_their_branches_build() -> None:
    assert template("wheels")[0]["rules"]["default"] == [{"if": "$CI_COMMIT_BRANCH || $CI_COMMIT_TAG"}]


def test_what_a_cache_holds_is_kept_apart_by_protection_and_tag() -> None:
    (build,) = jobs("build-wheels").values()
    key = build["cache"]["key"]
    assert all(part in key for part in ("$CI_COMMIT_REF_PROTECTED", "$CI_COMMIT_TAG", "$CI_JOB_NAME_SLUG"))
    assert "/" not in key
    (publish,) = jobs("publish").values()
    assert "cache" not in publish


@pytest.mark.parametrize("path", sorted((ROOT / "examples/gitlab").glob("*.yml")), ids=lambda path: path.stem)
def test_examples_include_this_release_and_know_its_inputs(path: Path) -> None:
    (included,) = yaml.safe_load(path.read_text("utf-8"))["include"]
    component, _, version = included["component"].rpartition("@")
    assert version == f"v{__version__}"
    assert set(included.get("inputs", {})) <= set(load(ROOT / f"templates/{Path(component).name}.yml")[0]["inputs"])
