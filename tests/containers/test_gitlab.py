"""GitLab's components in real containers, run by gitlab-ci-local: the examples, shards, failures, publishing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import junitparser
import pytest
import yaml
from uv import find_uv_bin

from conftest import ROOT
from containers.gitlab import Archives, git, listed, make_project, preview, run, serve_archives
from index import GitLabPublisher, LocalIndex
from manywheels import __version__
from manywheels.verify import WHEEL_CHECKS
from manywheels.wheels.manifest import read_manifest
from runner import copied_program
from unit.helpers import write_wheel

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


def built(folder: Path) -> list[str]:
    """Return the interpreters that a set has wheels for, after looking whether they are there."""
    targets = json.loads((folder / "manywheels.json").read_text("utf-8"))["targets"]
    wheels = [(target["identifier"], target["wheel"]) for target in targets if target["wheel"]]
    assert sorted(path.name for path in folder.glob("*.whl")) == sorted(wheel["name"] for _, wheel in wheels)
    return [identifier.partition("-")[0] for identifier, _ in wheels]


def given(*inputs: str) -> tuple[str, ...]:
    """Return the arguments that give the component these inputs besides those of the example."""
    return tuple(part for value in inputs for part in ("--input", value))


def test_the_smallest_example_builds_all_wheels_with_the_components_own_commit(
    tmp_path: Path, archives: Archives
) -> None:
    repository = make_project(tmp_path / "spam", SPAM, example("smallest"))
    ran = run(repository, *given(f"source={archives.address}"))
    assert ran.status == 0, ran.output
    assert built(repository / "dist") == list(TAGS)
    assert set(archives.asked) == {git(repository, "rev-parse", "HEAD")}
    assert ran.said("publish") == ""  # it is no tag
    assert "not isolated" not in ran.output


def test_the_reports_are_there_and_read_by_a_junit_parser(tmp_path: Path, image: str) -> None:
    repository = make_project(tmp_path / "fails", ROOT / "tests/projects/fails_on_311", example("smallest"))
    ran = run(repository, *given(f"image={image}", "build=cp311 cp312"))
    assert ran.status != 0
    assert built(repository / "dist") == ["cp312"]
    assert "<!doctype html>" in (repository / "dist/manywheels-report.html").read_text("utf-8").lower()
    report = junitparser.JUnitXml.fromfile(str(repository / "dist/manywheels-junit.xml"))
    failed = [case for suite in report for case in suite if isinstance(case, junitparser.TestCase) and case.result]
    assert [case.classname for case in failed] == ["cp311-manylinux_x86_64"]
    (failure,) = failed[0].result
    assert "error" in failure.text
    assert "_core.c" in failure.text
    passed = [case.name for suite in report if suite.name.startswith("cp312") for case in suite]
    assert {"build", "verify", *(check.code for check in WHEEL_CHECKS)} <= set(passed)


def test_objects_are_kept_in_the_cache_of_the_job(tmp_path: Path, image: str) -> None:
    repository = make_project(tmp_path / "bundled", ROOT / "tests/projects/bundled", example("smallest"))
    inputs = given(f"image={image}", "build=cp311 cp312", "compiler-cache=keep")

    def compilations() -> dict[str, int]:
        ran = run(repository, *inputs)
        assert ran.status == 0, ran.output
        found: dict[str, int] = json.loads((repository / "dist/manywheels.json").read_text("utf-8"))["compilations"]
        shutil.rmtree(repository / "dist")
        return found

    first, second = compilations(), compilations()
    assert first["compiled"] > 0
    assert second == {"compiled": 0, "shared": first["compiled"] + first["shared"], "alone": first["alone"]}


def test_three_jobs_build_disjoint_parts_and_publish_their_union_to_the_local_index(
    tmp_path: Path, archives: Archives, image: str
) -> None:
    with LocalIndex() as index:
        index.trust(GitLabPublisher(project="spam", project_path="manywheels/manywheels"))
        pipeline = example("sharded").replace("gitlab # the project's own package registry", index.upload_url)
        repository = make_project(tmp_path / "spam", SPAM, pipeline)
        job = index.gitlab_environment(project_path="manywheels/manywheels", ref="main")
        tokens = {name: value for name, value in job.items() if name.endswith("_ID_TOKEN")}
        inputs = given(f"image={image}", f"source={archives.address}", "build=cp311 cp312 cp313")
        ran = run(repository, *inputs, variables={"CI_COMMIT_TAG": "v1.0.0", **tokens})
        assert ran.status == 0, ran.output
        parts = [built(repository / f"dist/shard-{number}-of-3") for number in (1, 2, 3)]
        assert parts == [["cp311"], ["cp312"], ["cp313"]]
        gathered = repository / "dist/gathered"
        assert built(gathered) == ["cp311", "cp312", "cp313"]
        stored = {name: file.sha256 for name, file in index.files().items()}
        wheels = [target["wheel"] for target in json.loads((gathered / "manywheels.json").read_text())["targets"]]
        assert stored == {wheel["name"]: wheel["sha256"] for wheel in wheels}
        assert all(token not in ran.output for token in tokens.values())


# The musllinux wheels of the same release, by a second job in the image for these.
MUSL = """
  - component: $CI_SERVER_FQDN/manywheels/manywheels/build-wheels@$CI_COMMIT_SHA
    inputs:
      job-prefix: musl-
      platform: musllinux_1_2
      image: quay.io/pypa/musllinux_1_2_x86_64
      output-dir: dist/musl
      build: cp312
      source: SOURCE
"""


def write_others(folder: Path, version: str) -> None:
    """Write the wheels for macOS and Windows that cibuildwheel would build."""
    metadata = (
        "Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nRequires-Python: >=3.9\n"
        "License-Expression: MIT\nLicense-File: LICENSE\n"
    )
    for name, tags in (("macos", "cp312-cp312-macosx_11_0_arm64"), ("windows", "cp312-cp312-win_amd64")):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
        write_wheel(
            folder / name, tags=tags, start=f"spam-{version}", metadata=metadata, members={"spam/__init__.py": b""}
        )


def test_a_whole_release_is_published_as_one_set(tmp_path: Path, archives: Archives, image: str) -> None:
    """There are no runners for macOS and Windows here: wheels made by hand stand for what cibuildwheel would build."""
    others = tmp_path / "others"
    with LocalIndex() as index:
        index.trust(GitLabPublisher(project="spam", project_path="manywheels/manywheels", environment="release"))
        pipeline = yaml.safe_load(example("release"))
        pipeline["include"][0]["inputs"] |= {  # the runner's --input would reach both components
            "image": image, "source": archives.address, "build": "cp312", "repository-url": index.upload_url
        }  # fmt: skip
        pipeline["include"] += yaml.safe_load(MUSL.replace("SOURCE", archives.address))
        copied = f"mkdir -p wheelhouse && cp {others}/$CI_JOB_NAME/*.whl wheelhouse/"
        for name in ("macos", "windows"):
            pipeline[name] = {"extends": ".cibuildwheel", "script": [copied]}
        pipeline["publish"]["needs"].append("musl-build-wheels")
        repository = make_project(tmp_path / "spam", SPAM, yaml.safe_dump(pipeline, sort_keys=False))
        job = index.gitlab_environment(project_path="manywheels/manywheels", ref="v1.0.0", environment="release")
        tokens = {name: value for name, value in job.items() if name.endswith("_ID_TOKEN")}
        tag = {"CI_COMMIT_TAG": "v1.0.0", "CI_COMMIT_REF_PROTECTED": "true"}
        write_others(others, "0.9.0")
        ran = run(repository, variables=tag | tokens)
        assert ran.status != 0
        assert "`spam-0.9.0-cp312-cp312-macosx_11_0_arm64.whl` is of spam 0.9.0" in ran.said("publish")
        assert not index.files()

        write_others(others, "1.0.0")
        shutil.rmtree(repository / "wheelhouse", ignore_errors=True)  # the runner's copy of the jobs' artifacts
        ran = run(repository, variables=tag | tokens)
        assert ran.status == 0, ran.output
        sent = {name: file.sha256 for name, file in index.files().items()}
    manifest = read_manifest(repository / "dist/gathered")
    assert sent == {file.name: file.sha256 for file in manifest.files}
    assert manifest.sdist is not None
    assert [wheel.origin for wheel in manifest.foreign] == ["wheelhouse", "wheelhouse"]
    assert ["musllinux" in wheel.name for wheel in manifest.wheels] == [False, True]


# Stands in for the runner of the other architecture, which is not here: a cross build has made its part.
OTHER_RUNNER = """
  before_script:
    - |
      if [ "$RUNNER" = saas-linux-small-arm64 ]; then
        mkdir -p dist && cp -R /aarch64 dist/shard-aarch64-1-of-1
        exit 0
      fi
"""


def test_two_architectures_are_gathered_and_published(tmp_path: Path, archives: Archives, image: str) -> None:
    repository = make_project(tmp_path / "spam", SPAM, example("architectures") + OTHER_RUNNER)
    part = tmp_path / "aarch64"
    argv = [sys.executable, "-m", "manywheels", "build", "--engine=host", "--build=cp312",
            "--archs=x86_64 aarch64", "--shard=aarch64", f"--output-dir={part}"]  # fmt: skip
    subprocess.run(argv, cwd=repository, check=True, capture_output=True)
    with LocalIndex() as index:
        index.trust(GitLabPublisher(project="spam", project_path="manywheels/manywheels"))
        job = index.gitlab_environment(project_path="manywheels/manywheels", ref="main")
        tokens = {name: value for name, value in job.items() if name.endswith("_ID_TOKEN")}
        inputs = (f"image={image}", f"source={archives.address}", "build=cp312", f"repository-url={index.upload_url}")
        ran = run(
            repository, "--volume", f"{part}:/aarch64:ro", *given(*inputs),
            variables={"CI_COMMIT_TAG": "v1.0.0", **tokens},
        )  # fmt: skip
        assert ran.status == 0, ran.output
        assert built(repository / "dist/gathered") == ["cp312", "cp312"]
        wheels = sorted(path.name for path in (repository / "dist/gathered").glob("*.whl"))
        assert sorted("aarch64" in name for name in wheels) == [False, True]
        assert sorted(index.files()) == wheels


def test_the_example_that_cross_builds_has_the_commands_of_githubs(tmp_path: Path) -> None:
    """Its image is not here; tests/containers/test_artifacts.py runs these commands."""
    repository = make_project(tmp_path / "spam", SPAM, example("cross"))
    assert listed(repository, {"CI_COMMIT_BRANCH": "topic", "CI_COMMIT_TAG": ""}) == {"build-wheels"}
    assert listed(repository, {"CI_COMMIT_BRANCH": "", "CI_COMMIT_TAG": "v1.0.0"}) == {"build-wheels", "publish"}
    shown = preview(repository)
    assert shown.status == 0, shown.output
    resolved = yaml.safe_load(shown.output)
    install, build = resolved["build-wheels"]["script"]
    assert "'manywheels[host] @ git+" in install
    text = (ROOT / "examples/gitlab/cross.yml").read_text("utf-8")
    assert f"'manywheels[host] @ git+https://github.com/manywheels/manywheels@v{__version__}'" in text
    steps = yaml.safe_load((ROOT / "examples/github/cross.yml").read_text("utf-8"))["jobs"]["build"]["steps"]
    assert build.removesuffix(" --junit dist/manywheels-junit.xml") in [
        line for step in steps for line in step.get("run", "").splitlines()
    ]
    assert resolved["build-wheels"]["artifacts"]["paths"] == ["dist"]
    (needed,) = resolved["publish"]["needs"]
    assert needed["job"] == "build-wheels"


def test_a_protected_tag_publishes_as_the_example_says(tmp_path: Path, archives: Archives) -> None:
    with LocalIndex() as index:
        index.trust(GitLabPublisher(project="spam", project_path="manywheels/manywheels", environment="release"))
        inputs = "    inputs:\n"
        pipeline = example("publish-on-tag").replace(inputs, f"{inputs}      repository-url: {index.upload_url}\n")
        repository = make_project(tmp_path / "spam", SPAM, pipeline)
        job = index.gitlab_environment(project_path="manywheels/manywheels", ref="v1.0.0", environment="release")
        tokens = {name: value for name, value in job.items() if name.endswith("_ID_TOKEN")}
        tag = {"CI_COMMIT_TAG": "v1.0.0", "CI_COMMIT_REF_PROTECTED": "true"}
        assert "publish" not in listed(repository, tag | {"CI_COMMIT_REF_PROTECTED": "false"})
        ran = run(repository, *given(f"source={archives.address}"), variables=tag | tokens)
        assert ran.status == 0, ran.output
        assert built(repository / "dist/gathered") == ["cp311", "cp312", "cp313"]
        assert sorted(index.files()) == sorted(path.name for path in (repository / "dist/gathered").glob("*.whl"))


# --- where manywheels comes from --------------------------------------------------------------------------------------


def build_one(repository: Path, archives: Archives, *inputs: str, variables: Mapping[str, str] | None = None) -> str:
    """Build one wheel without the templates' own archive; return the version of manywheels that did it."""
    before = len(archives.asked)
    chosen = given("build=cp312", f"source={archives.address}", *inputs)
    ran = run(repository, *chosen, variables=variables)
    assert ran.status == 0, ran.output
    assert built(repository / "dist") == ["cp312"]
    assert len(archives.asked) == before
    return str(json.loads((repository / "dist/manywheels.json").read_text("utf-8"))["manywheels"])


@pytest.mark.parametrize("kind", ["requirement", "folder"])  # a wheel is installed as a requirement is
def test_the_input_manywheels_names_another_one(kind: str, tmp_path: Path, archives: Archives) -> None:
    version = f"{__version__}+own"
    own = copied_program(tmp_path / "own", besides=("pyproject.toml", "README.md", "LICENSE"))
    (own / "src/manywheels/__init__.py").write_text(f'__version__ = "{version}"\n', encoding="utf-8")
    repository = make_project(tmp_path / "spam", SPAM, example("smallest"))
    if kind == "folder":
        shutil.copytree(own, repository / "own")
        named = "own"
    else:
        subprocess.run([find_uv_bin(), "build", "--quiet", "--wheel", "--out-dir", repository / "own", own], check=True)
        named = f"manywheels=={version}"
    git(repository, "add", "--all", "--force")
    git(repository, "commit", "--quiet", "--message", "a manywheels of its own")
    assert build_one(repository, archives, f"manywheels={named}", variables={"UV_FIND_LINKS": "own"}) == version


def test_nothing_is_installed_in_an_image_that_has_manywheels(tmp_path: Path, archives: Archives, image: str) -> None:
    repository = make_project(tmp_path / "spam", SPAM, example("smallest"))
    assert build_one(repository, archives, f"image={image}") == __version__


# --- what the runner mounts -------------------------------------------------------------------------------------------

KUBERNETES = {"GITLAB_CI": "true", "CI_PROJECT_ID": "7", "CI_JOB_ID": "42", "CI_PROJECT_DIR": "/builds/spam"}
JOB = """
echo "export CI_JOB_TOKEN=glcbt-1" >/scripts-7-42/step_script
touch "/var/own logs/logs-7-42/output.log"
chmod 777 /scripts-7-42/step_script "/var/own logs/logs-7-42/output.log"
/opt/manywheels/venv/bin/python -I -m manywheels.cli.gitlab
cat /scripts-7-42/step_script "/var/own logs/logs-7-42/output.log"
"""
ATTEMPTS = "cat /scripts-7-42/step_script; echo false >>'/var/own logs/logs-7-42/output.log'; echo tried as $(id -u)"


def test_project_code_reaches_neither_the_scripts_nor_the_log_of_the_kubernetes_executor(
    tmp_path: Path, image: str
) -> None:
    spam = shutil.copytree(SPAM, tmp_path / "spam")
    inputs = {"BUILD": "cp312", "BEFORE_BUILD": ATTEMPTS, "VERBOSE": "true"}
    variables = KUBERNETES | {f"MANYWHEELS_INPUT_{name}": value for name, value in inputs.items()}
    done = subprocess.run(
        ["docker", "run", "--rm", "--network", "host", "--volume", f"{spam}:/builds/spam", "--workdir", "/builds/spam",
         "--tmpfs", "/scripts-7-42:mode=777", "--tmpfs", "/var/own logs/logs-7-42:mode=777", "--entrypoint", "sh",
         *(part for name, value in variables.items() for part in ("--env", f"{name}={value}")), image, "-ec", JOB],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tried as 62000" in done.stdout
    assert done.stdout.count("glcbt-1") == 1  # what the job itself shows at its end
    assert "false" not in done.stdout.splitlines()


def test_publishing_is_refused_with_the_name_of_the_part_that_is_missing_and_the_target_that_failed(
    tmp_path: Path, archives: Archives, image: str
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
    inputs = given(f"image={image}", f"source={archives.address}", "build=cp39 cp310 cp311")
    ran = run(repository, *inputs, variables=variables)
    assert ran.status != 0
    said = ran.said("publish")
    assert "the shard 2/3 of the plan for manylinux_2_28_x86_64 is missing" in said
    assert "the target `cp310-manylinux_x86_64` of the plan is missing" in said
    assert "the target `cp311-manylinux_x86_64` has no wheel: " in said
    assert not (repository / "dist/gathered/manywheels.json").exists()
