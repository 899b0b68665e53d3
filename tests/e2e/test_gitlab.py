"""GitLab's components in real containers, run by gitlab-ci-local: the examples, shards, failures, publishing."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import junitparser
import pytest

from conftest import ROOT
from e2e.gitlab import Archives, git, make_project, run, serve_archives
from index import GitLabPublisher, LocalIndex

pytestmark = [pytest.mark.docker, pytest.mark.gitlab, pytest.mark.network]

EXAMPLES = ROOT / "examples" / "gitlab"
SPAM = ROOT / "examples" / "spam"
TAGS = ("cp39", "cp310", "cp311", "cp312", "cp313", "cp314")


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archives]:
    with serve_archives(tmp_path_factory.mktemp("archive") / "checkout") as archives:
        yield archives


def example(name: str) -> str:
    """Return an example; the component is this checkout's, as a component's own pipeline includes it."""
    return (EXAMPLES / f"{name}.yml").read_text("utf-8").replace("@v0.1.0", "@$CI_COMMIT_SHA")


def unpacked(requirement: str, folder: Path) -> Path:
    """Return the source of a project on the index."""
    name = requirement.partition("==")[0]
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", name,
                    "--dest", folder, requirement], check=True)  # fmt: skip
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def built(folder: Path) -> list[str]:
    """Return the interpreters that a set has wheels for, after looking whether they are there."""
    targets = json.loads((folder / "manywheels.json").read_text("utf-8"))["targets"]
    wheels = [(target["identifier"], target["wheel"]) for target in targets if target["wheel"]]
    assert sorted(path.name for path in folder.glob("*.whl")) == sorted(wheel["name"] for _, wheel in wheels)
    return [identifier.partition("-")[0] for identifier, _ in wheels]


def test_the_smallest_example_builds_all_wheels_with_the_components_own_commit(
    tmp_path: Path, archives: Archives
) -> None:
    repository = make_project(tmp_path / "pyovf", unpacked("pyovf==0.3.0", tmp_path / "sdist"), example("smallest"))
    ran = run(repository, "--input", f"source={archives.address}")
    assert ran.status == 0, ran.output
    assert built(repository / "dist") == list(TAGS)
    assert set(archives.asked) == {git(repository, "rev-parse", "HEAD")}
    assert ran.said("publish") == ""  # it is no tag
    assert "not isolated" not in ran.output


def test_the_reports_are_there_and_read_by_a_junit_parser(tmp_path: Path, archives: Archives) -> None:
    repository = make_project(tmp_path / "fails", ROOT / "tests/projects/fails_on_311", example("smallest"))
    ran = run(repository, "--input", f"source={archives.address}", "--input", "build=cp311 cp312")
    assert ran.status != 0
    assert built(repository / "dist") == ["cp312"]
    assert "<!doctype html>" in (repository / "dist/manywheels-report.html").read_text("utf-8").lower()
    report = junitparser.JUnitXml.fromfile(str(repository / "dist/manywheels-junit.xml"))
    failed = [case for suite in report for case in suite if isinstance(case, junitparser.TestCase) and case.result]
    assert [case.classname for case in failed] == ["cp311-manylinux_x86_64"]
    (failure,) = failed[0].result
    assert "error" in failure.text
    assert "_core.c" in failure.text


def test_three_jobs_build_disjoint_parts_and_publish_their_union_to_the_local_index(
    tmp_path: Path, archives: Archives
) -> None:
    with LocalIndex() as index:
        index.trust(GitLabPublisher(project="spam", project_path="manywheels/manywheels"))
        pipeline = example("sharded").replace("gitlab # the project's own package registry", index.upload_url)
        repository = make_project(tmp_path / "spam", SPAM, pipeline)
        job = index.gitlab_environment(project_path="manywheels/manywheels", ref="main")
        tokens = {name: value for name, value in job.items() if name.endswith("_ID_TOKEN")}
        ran = run(repository, "--input", f"source={archives.address}", variables={"CI_COMMIT_TAG": "v1.0.0", **tokens})
        assert ran.status == 0, ran.output
        parts = [built(repository / f"dist/shard-{number}-of-3") for number in (1, 2, 3)]
        assert parts == [["cp39", "cp312"], ["cp310", "cp313"], ["cp311", "cp314"]]
        gathered = repository / "dist/gathered"
        assert built(gathered) == list(TAGS)
        stored = {name: file.sha256 for name, file in index.files().items()}
        wheels = [target["wheel"] for target in json.loads((gathered / "manywheels.json").read_text())["targets"]]
        assert stored == {wheel["name"]: wheel["sha256"] for wheel in wheels}
        assert all(token not in ran.output for token in tokens.values())


def test_publishing_is_refused_with_the_name_of_the_part_that_is_missing_and_the_target_that_failed(
    tmp_path: Path, archives: Archives
) -> None:
    pipeline = (
        example("sharded")
        + """
build-wheels:
  allow_failure: true
  before_script:
    - test "$CI_NODE_INDEX" != 2
"""
    )
    repository = make_project(tmp_path / "fails", ROOT / "tests/projects/fails_on_311", pipeline)
    registry = {
        "CI_API_V4_URL": "https://gitlab.example.invalid/api/v4",
        "CI_PROJECT_ID": "7",
        "CI_JOB_TOKEN": "glcbt-1",
    }
    variables = {"CI_COMMIT_TAG": "v1.0.0", **registry}
    ran = run(repository, "--input", f"source={archives.address}", variables=variables)
    assert ran.status != 0
    said = ran.said("publish")
    assert "the shard 2/3 of the plan for manylinux_2_28_x86_64 is missing" in said
    assert "the target `cp310-manylinux_x86_64` of the plan is missing" in said
    assert "the target `cp311-manylinux_x86_64` has no wheel: " in said
    assert not (repository / "dist/gathered/manywheels.json").exists()
