"""Builds with uv, where only pip was told about indexes and versions: by variables and by pip.conf."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from fetched import WHEELS
from host.cases import Case, build_cases
from host.conftest import Finished, Program, WheelContents
from unit.helpers import write_wheel
from unit.serving import served

SETUPTOOLS = "78.1.1"
HELPER = "corp-helper"


def _handler(folder: Path) -> type[SimpleHTTPRequestHandler]:
    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    return Handler


def _publish(index: Path, wheel: Path) -> None:
    folder = index / "simple" / re.sub(r"[-_.]+", "-", wheel.name.split("-")[0]).lower()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / wheel.name).symlink_to(wheel)
    with (folder / "index.html").open("a") as page:
        page.write(f'<a href="{wheel.name}">{wheel.name}</a>\n')


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the address of indexes that pip alone is told of: `pypi`, `corp` with a helper that `more` has newer."""
    for name in ("UV_OFFLINE", "UV_FIND_LINKS", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name)
    www = tmp_path / "www"
    for wheel in WHEELS.glob("*.whl"):
        _publish(www / "pypi", wheel)
    for name, version in (("corp", "1.0"), ("more", "2.0")):
        _publish(www / name, write_wheel(tmp_path, tags="py3-none-any", start=f"corp_helper-{version}"))
    with served(_handler(www)) as address:
        monkeypatch.setenv("PIP_INDEX_URL", f"{address}/pypi/simple")
        yield address


@pytest.fixture
def project(program: Program) -> Path:
    """A project whose build requires `corp-helper`, and says which version it got."""
    project = program.copy("env_probe")
    (project / "pins").mkdir()
    (project / "pins/build.txt").write_text(f"setuptools=={SETUPTOOLS}\n")
    text = (project / "pyproject.toml").read_text().replace("setuptools>=77", f'setuptools>=77", "{HELPER}')
    (project / "pyproject.toml").write_text(text)
    backend = project / "backend.py"
    helper = f'"helper": __import__("importlib.metadata").metadata.version("{HELPER}"),\n        "setuptools"'
    backend.write_text(backend.read_text().replace('"setuptools"', helper))
    return project


def seen(contents: WheelContents, done: Finished | Case) -> Any:
    wheels, finished = done.wheels, done.finished if isinstance(done, Case) else done
    assert len(wheels) == 1, finished.text
    return json.loads(contents.members(wheels[0])["env_probe/probe.json"])


def test_what_a_project_tells_pip(index: str, program: Program, project: Path, contents: WheelContents) -> None:
    """Each target has settings of its own, in `environment`."""
    corp = f"PIP_EXTRA_INDEX_URL={index}/corp/simple"
    cases = {
        "constraint": {"environment": f"{corp} PIP_CONSTRAINT=pins/build.txt"},
        "two indexes": {
            "environment": f"PIP_EXTRA_INDEX_URL='{index}/corp/simple {index}/more/simple' "
            "PIP_BUILD_CONSTRAINT={project}/pins/build.txt",
        },
        "links made by a command": {
            "environment": "PIP_FIND_LINKS='{project}/wheelhouse absent'",
            "before-build": f"mkdir wheelhouse && cp {program.folder}/corp_helper-1.0-py3-none-any.whl wheelhouse",
        },
        "both": {
            "environment": f"{corp} PIP_CONSTRAINT=pins/helper.txt",
            "dependency-versions": f"packages: setuptools=={SETUPTOOLS}",
        },
        "nothing": {"environment": "X=1"},
    }
    (project / "pins/helper.txt").write_text(f"{HELPER}==1.0\n")
    built = build_cases(program, project, cases, caller={"PIP_CONSTRAINT": ""})
    probes = {name: seen(contents, case) for name, case in built.items() if name != "nothing"}
    assert {name: probe["helper"] for name, probe in probes.items()} == {
        "constraint": "1.0", "two indexes": "2.0", "links made by a command": "1.0", "both": "1.0",
    }  # fmt: skip
    assert all(probes[name]["setuptools"] == SETUPTOOLS for name in ("constraint", "two indexes", "both"))
    assert probes["links made by a command"]["setuptools"] != SETUPTOOLS
    assert "PIP_FIND_LINKS names" in built["links made by a command"].log
    assert HELPER in built["nothing"].target["failure"]["problem"]


def test_what_the_caller_tells_pip(index: str, program: Program, project: Path, contents: WheelContents) -> None:
    """By a file and by variables; the tests have an index of their own."""
    (program.folder / "pins.txt").write_text(f"setuptools=={SETUPTOOLS}\n")
    (program.folder / "ci.conf").write_text(f"[global]\nextra-index-url = {index}/corp/simple\nproxy = \n")
    finished = program.build(
        project, "--test-requires", HELPER, "--test-environment", f"PIP_EXTRA_INDEX_URL={index}/more/simple",
        "--test-command", f"python -c \"import importlib.metadata as m; assert m.version('{HELPER}') == '2.0'\"",
        caller={"PIP_CONFIG_FILE": "ci.conf", "PIP_CONSTRAINT": "pins.txt"}, cwd=program.folder,
    )  # fmt: skip
    assert finished.status == 0, finished.text
    probe = seen(contents, finished)
    assert (probe["helper"], probe["setuptools"]) == ("1.0", SETUPTOOLS)
    assert probe["environ"]["UV_INDEX"] == f"{index}/corp/simple"


def test_a_failure_names_what_was_not_looked_at(index: str, program: Program, project: Path) -> None:
    caller = {"PIP_EXTRA_INDEX_URL": index.replace("://", "://user:hunter2@") + "/corp/simple", "PIP_PROXY": ""}
    finished = program.build(project, "--environment", "PIP_KEYRING_PROVIDER=subprocess", caller=caller)
    failure = finished.failure()
    assert HELPER in failure["problem"]
    for word in ("PIP_EXTRA_INDEX_URL holds credentials", "`environment-pass`", "PIP_KEYRING_PROVIDER"):
        assert word in failure["remedy"]
        assert word in finished.stderr
    assert "hunter2" not in finished.text + finished.log().read_text("utf-8") + json.dumps(finished.manifest)
