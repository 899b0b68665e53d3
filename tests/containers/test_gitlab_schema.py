"""What GitLab makes of the templates, as gitlab-ci-local reads them: valid against GitLab's schema however included."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from conftest import ROOT
from containers.gitlab import git, listed, make_project, preview

pytestmark = pytest.mark.gitlab

NAMES = ("build-wheels", "publish", "wheels")
# `publish` alone: the job that it needs is the user's own
BUILDER = "\nbuild-wheels:\n  stage: build\n  script: [make wheels]\n"
HOSTILE = """$(touch x) `id` "; exit 1 # ' ${CI_JOB_TOKEN} \\ \ta: [b"""


def validated(config: dict[str, Any], folder: Path) -> str:
    """Return what GitLab's own schema has against a configuration."""
    path = folder / "resolved.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.gitlab-ci", str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.fixture
def here() -> Iterator[str]:
    """The address of this checkout's files."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(ROOT)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def resolve(folder: Path, *includes: dict[str, Any], more: str = "") -> dict[str, Any]:
    pipeline = yaml.safe_dump({"include": list(includes)}) + more
    repository = make_project(folder / "spam", ROOT / "examples/spam", pipeline)
    shown = preview(repository)
    assert shown.status == 0, shown.output
    resolved: dict[str, Any] = yaml.safe_load(shown.output)
    return resolved


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", ["local", "component", "remote"])
def test_every_template_is_valid_however_it_is_included(name: str, way: str, tmp_path: Path, here: str) -> None:
    places = {
        "local": f"ci-templates/{name}.yml",
        "component": f"$CI_SERVER_FQDN/manywheels/manywheels/{name}@$CI_COMMIT_SHA",
        "remote": f"{here}/ci-templates/{name}.yml",
    }
    config = resolve(tmp_path, {way: places[way]}, more=BUILDER if name == "publish" else "")
    assert validated(config, tmp_path) == ""
    jobs = {job: entry for job, entry in config.items() if isinstance(entry, dict) and "image" in entry}
    assert set(jobs) == ({"build-wheels", "publish"} if name == "wheels" else {name})
    revisions = {job["variables"]["MANYWHEELS_REVISION"] for job in jobs.values()}
    commit = git(tmp_path / "spam", "rev-parse", "HEAD")
    assert revisions == ({commit} if way == "component" else {"v0.1.0"})


@pytest.mark.parametrize("way", ["local", "component"])
def test_inputs_reach_the_jobs_as_they_were_written(way: str, tmp_path: Path) -> None:
    component = "$CI_SERVER_FQDN/manywheels/manywheels/wheels@$CI_COMMIT_SHA"
    place = {"local": "ci-templates/wheels.yml", "component": component}
    inputs = {
        "config-settings": HOSTILE, "verbose": True, "tags": ["arm", "big"], "parallel": 4, "job-prefix": "arm-",
        "rules": [{"if": "$CI_COMMIT_BRANCH"}], "dry-run": True, "expose-as": "ARM wheels",
    }  # fmt: skip
    config = resolve(tmp_path, {way: place[way], "inputs": inputs})
    assert validated(config, tmp_path) == ""
    build, publish = config["arm-build-wheels"], config["arm-publish"]
    unexpanded = HOSTILE.replace("$", "$$")  # as the runner writes what it does not expand
    assert build["variables"]["MANYWHEELS_INPUT_CONFIG_SETTINGS"] == unexpanded
    assert "touch" not in str(build["script"])
    assert (build["variables"]["MANYWHEELS_INPUT_VERBOSE"], publish["variables"]["MANYWHEELS_INPUT_DRY_RUN"]) == (
        "true ", "true ",
    )  # fmt: skip
    assert (build["tags"], build["parallel"], build["rules"]) == (["arm", "big"], 4, [{"if": "$CI_COMMIT_BRANCH"}])
    assert [need["job"] for need in publish["needs"]] == ["arm-build-wheels"]
    assert (build["stage"], publish["stage"]) == ("build", "deploy")


@pytest.mark.parametrize("tags", [[], ["arm"]])
def test_each_of_two_includes_has_the_stages_that_it_was_given(tags: list[str], tmp_path: Path) -> None:
    first = {"job-prefix": "a-", "stage": "build", "publish-stage": "deploy", "tags": tags}
    second = {"job-prefix": "b-", "stage": "test", "publish-stage": ".post", "tags": tags}
    place = "ci-templates/wheels.yml"
    config = resolve(tmp_path, {"local": place, "inputs": first}, {"local": place, "inputs": second})
    stages = {job: config[job]["stage"] for job in ("a-build-wheels", "a-publish", "b-build-wheels", "b-publish")}
    assert stages == {"a-build-wheels": "build", "a-publish": "deploy", "b-build-wheels": "test", "b-publish": ".post"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"CI_COMMIT_BRANCH": "topic"}, {"build-wheels"}),
        ({"CI_COMMIT_BRANCH": "", "CI_COMMIT_TAG": "v1.0.0"}, {"build-wheels", "publish"}),
        ({"CI_COMMIT_BRANCH": "", "CI_MERGE_REQUEST_IID": "3", "CI_PIPELINE_SOURCE": "merge_request_event"}, set()),
    ],
)
def test_wheels_are_built_once_for_a_push(variables: dict[str, str], expected: set[str], tmp_path: Path) -> None:
    pipeline = yaml.safe_dump({"include": [{"local": "ci-templates/wheels.yml"}], "other": {"script": ["true"]}})
    repository = make_project(tmp_path / "spam", ROOT / "examples/spam", pipeline)
    assert listed(repository, variables) == {"other", *expected}


@pytest.mark.parametrize(
    ("inputs", "described"),
    [
        ({"parallel": "many"}, "parallel"),
        ({"expose-as": "a/b"}, "expose-as"),
        ({"revision": "$(id)"}, "revision"),
    ],
)
def test_what_no_input_allows_stops_the_pipeline_before_it_begins(
    inputs: dict[str, Any], described: str, tmp_path: Path
) -> None:
    pipeline = yaml.safe_dump({"include": [{"local": "ci-templates/wheels.yml", "inputs": inputs}]})
    shown = preview(make_project(tmp_path / "spam", ROOT / "examples/spam", pipeline))
    assert shown.status != 0
    assert described in shown.output


def test_the_printed_matrix_gives_the_building_job_its_shards(tmp_path: Path) -> None:
    planned = subprocess.run(
        [sys.executable, "-m", "manywheels", "plan", "--matrix", "gitlab", "--per-job", "3", "examples/spam"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    reference = "\nbuild-wheels:\n  parallel: !reference [.manywheels-matrix, parallel]\n"
    config = resolve(tmp_path, {"local": "ci-templates/build-wheels.yml"}, more=f"\n{planned.stdout}{reference}")
    assert validated(config, tmp_path) == ""
    shards = [job["MANYWHEELS_INPUT_SHARD"] for job in config["build-wheels"]["parallel"]["matrix"]]
    assert shards == [["1/2"], ["2/2"]]  # as the runner writes single values


@pytest.mark.parametrize("folder", ["ci-templates", "templates"])
@pytest.mark.parametrize("name", NAMES)
def test_the_headers_are_valid_too(folder: str, name: str, tmp_path: Path) -> None:
    header, _ = yaml.safe_load_all((ROOT / folder / f"{name}.yml").read_text("utf-8"))
    assert validated(header, tmp_path) == ""
    header["spec"]["inputs"]["stage"]["type"] = "no such type"
    assert "no such type" in validated(header, tmp_path)
