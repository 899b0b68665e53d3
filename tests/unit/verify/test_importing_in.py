"""What the Pythons of a hostile image say of themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import cast

import pytest

from manywheels.verify.imports.container import ImportImage, pythons_in
from manywheels.verify.imports.host import Attempt, _read
from manywheels.verify.imports.worker import describe

HONEST = {"abi": "cp312", "version": "3.12.1", "path": "/usr/bin/python3", "libc": "glibc", "libc_version": [2, 36],
          "arch": "x86_64"}  # fmt: skip


class Answering:
    """An image in which the search for Pythons prints these lines."""

    def __init__(self, *lines: str) -> None:
        self._answer = "\n".join(lines)

    def run(self, _command: Sequence[str], _timeout: float) -> Attempt:
        return Attempt(status=0, results=self._answer)


def found(*lines: str) -> list[str]:
    return [python.version for python in pythons_in(cast("ImportImage", Answering(*lines)))]


def test_an_honest_python_is_found() -> None:
    assert found("noise", json.dumps(HONEST), "[]") == ["3.12.1"]
    assert found(json.dumps(describe()))


ODD: tuple[dict[str, object], ...] = (
    {"version": 3}, {"version": ["3", "12"]}, {"version": "3"}, {"version": "3.x"}, {"version": "--index-url"},
    {"version": "3.12\n"}, {"version": f"3.{'1' * 4000}"}, {"abi": ["cp312"]}, {"abi": {}}, {"abi": ""},
    {"abi": "cp312 --index=https://evil.example"}, {"abi": "c" * 100_000}, {"path": ["/bin/sh"]}, {"libc": "evil"},
    {"libc_version": "2.36"}, {"libc_version": [2]}, {"libc_version": ["2", "36"]}, {"libc_version": [2, None]},
    {"arch": "x86_64/../.."}, {"arch": None},
)  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        *("[" * 100_000, '{"a":' * 100_000, "9" * 10_000, "null", '"abi"', json.dumps([HONEST]), "{}"),
        *(json.dumps(HONEST | changed) for changed in ODD),
    ],
    ids=lambda line: line[:40],
)
def test_what_no_python_says_of_itself_is_passed_over(line: str) -> None:
    assert found(line, json.dumps(HONEST)) == ["3.12.1"]


def test_what_no_import_says_is_passed_over() -> None:
    assert _read("[" * 100_000 + '\n{"ended": true}', ()) == ([], [], True)
