"""What the tests of publishing share: folders of wheels with their manifest, sdists, running the command."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from manywheels.cli.main import main
from manywheels.wheels.manifest import TargetRecord, TargetState, describe_wheel
from unit import helpers
from unit.helpers import METADATA, PLATFORM, manifest, write_wheel

PROJECT = "demo"
RICH_METADATA = """\
Metadata-Version: 2.4
Name: {name}
Version: {version}
Summary: Schöne Wörter, and "quotes"
Author-email: Ada Lovelace <ada@example.org>
Keywords: one,two words,drei
Project-URL: Homepage, https://example.org/?a=1&b=2
Project-URL: Source, https://example.org/source
Classifier: Programming Language :: Python :: 3
Classifier: Topic :: Software Development :: Build Tools
License-Expression: MIT
License-File: LICENSE
Requires-Python: >=3.9
Requires-Dist: requests>=2
Requires-Dist: rich; extra == "show"
Provides-Extra: show
Description-Content-Type: text/markdown

# A demonstration

With ünïcödé.
"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run: its status, what it printed, and the ledger's states by file name."""

    status: int
    out: str
    err: str
    states: Mapping[str, str]

    @property
    def said(self) -> str:
        return self.out + self.err


def write_set(folder: Path, *tags: str, version: str = "1.0", metadata: str = METADATA) -> list[Path]:
    """Write wheels for these Pythons (`cp312`), and the manifest that seals them."""
    folder.mkdir(parents=True, exist_ok=True)
    wheels = [
        write_wheel(folder, tags=f"{tag}-{tag}-{PLATFORM}", start=f"{PROJECT}-{version}", metadata=metadata)
        for tag in tags
    ]
    seal(folder, wheels, version=version)
    return wheels


def write_many(folder: Path, count: int) -> list[Path]:
    """Write that many small wheels of one release, with different build tags, and the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    wheels = [
        write_wheel(
            folder,
            tags=f"{number}-cp312-cp312-{PLATFORM}",
            start=f"{PROJECT}-1.0",
            members={"demo/number.py": b"number = %d\n" % number},  # the index takes no content twice
        )
        for number in range(1, count + 1)
    ]
    seal(folder, wheels)
    return wheels


def seal(folder: Path, wheels: list[Path], *, version: str = "1.0") -> None:
    """Write the manifest of these wheels."""
    targets = tuple(
        TargetRecord(
            identifier=f"target-{number}",
            state=TargetState.BUILT,
            wheel=describe_wheel(wheel, glibc="2.17", libraries=()),
        )
        for number, wheel in enumerate(wheels)
    )
    replace(manifest(*targets), version=version).write(folder)


def write_sdist(folder: Path, *, version: str = "1.0", metadata: str = METADATA) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return helpers.write_sdist(folder, start=f"{PROJECT}-{version}", metadata=metadata)


def clean_environment(**variables: str) -> dict[str, str]:
    """Return an environment without variables of a CI and without tokens; what is printed there has no colours."""
    keep = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
    return {name: os.environ[name] for name in keep if name in os.environ} | {"NO_COLOR": "1"} | variables


def arguments(folder: Path, url: str, *options: str) -> list[str]:
    """Return the arguments of `manywheels` that publish a folder; the local index has PyPI's rules."""
    rules = ["--index-rules=pypi"] if url.endswith("/legacy/") else []
    return ["publish", f"--packages-dir={folder}", "--repository-url", url, *rules, *options]


def publish(
    folder: Path, url: str, *options: str, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Run:
    """Run `manywheels publish` on a folder, in this process."""
    status, out, err = run_here(
        arguments(folder, url, *options), {**clean_environment(), **(environment or {})}, cwd or folder.parent
    )
    return Run(status=status, out=out, err=err, states=states(folder))


def run_here(argv: list[str], environment: Mapping[str, str], cwd: Path) -> tuple[int, str, str]:
    """Run `manywheels` in this process, which is faster than to start another; return its status and what it said."""
    out, err = io.StringIO(), io.StringIO()
    with (
        _variables(environment), chdir(cwd), redirect_stdout(out), redirect_stderr(err),
        warnings.catch_warnings(action="ignore"),
    ):  # fmt: skip
        status = main(argv)
    return status, out.getvalue(), err.getvalue()


@contextmanager
def _variables(variables: Mapping[str, str]) -> Iterator[None]:
    """Replace all environment variables of this process by these."""
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(variables)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def publish_apart(
    folder: Path, url: str, *options: str, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Run:
    """Run `manywheels publish` on a folder in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "manywheels", *arguments(folder, url, *options)],
        env={**clean_environment(), **(environment or {})}, cwd=cwd or folder.parent, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    return Run(status=done.returncode, out=done.stdout, err=done.stderr, states=states(folder))


def read_ledger(folder: Path) -> dict[str, Any]:
    """Return the ledger of a folder."""
    content: dict[str, Any] = json.loads((folder / "manywheels-ledger.json").read_text("utf-8"))
    return content


def states(folder: Path) -> dict[str, str]:
    """Return the state of each file in the ledger; nothing if there is no ledger."""
    if not (folder / "manywheels-ledger.json").is_file():
        return {}
    return {entry["name"]: entry["state"] for entry in read_ledger(folder)["files"]}
