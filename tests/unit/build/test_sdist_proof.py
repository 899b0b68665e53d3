"""Whatever happens to the proof of an sdist, the wheels are not lost: it becomes the sdist's failure."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from manywheels.build.target import sdist_proof
from manywheels.build.target.sdist_proof import Proof, prove_sdist
from manywheels.errors import BuildFailed, Cancelled, ToolchainError, WheelFileError
from unit.helpers import built, planned

ERRORS: dict[str, tuple[Exception, str]] = {
    "an unreadable wheel": (WheelFileError("No archive.", remedy="Mend it."), "No wheel can be built from the sdist"),
    "no compiler": (ToolchainError("No gcc.", remedy="Mend it."), "No wheel can be built from the sdist"),
    "a failed build": (BuildFailed("It broke.", remedy="Mend it."), "No wheel can be built from the sdist"),
    "a full disk": (OSError(28, "No space left on device"), "No wheel can be built from the sdist: No space left"),
    "a fault": (ValueError("oops"), "No wheel can be built from the sdist: A fault in manywheels"),
    "a cancellation": (Cancelled("Stopped.", remedy="Run it again."), "Stopped."),
}


class FakeProof:
    """A proof that raises `error`, when it is made or when it runs."""

    error: Exception
    is_early = False
    left = 0

    def __init__(self, *_: object) -> None:
        if self.is_early:
            raise self.error

    def prove(self, _record: object) -> None:
        raise self.error

    def leave(self) -> None:
        FakeProof.left += 1


def proved(tmp_path: Path) -> Proof:
    context: Any = SimpleNamespace(run=SimpleNamespace(output=SimpleNamespace(path=tmp_path / "missing")))
    snapshot: Any = None
    return prove_sdist(context, planned("cp312")[0], snapshot, lambda: built("cp312"))


@pytest.mark.parametrize("is_early", [False, True])
@pytest.mark.parametrize("name", ERRORS)
def test_each_error_is_the_sdists(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_early: bool
) -> None:
    error, problem = ERRORS[name]
    monkeypatch.setattr(sdist_proof, "SdistProof", FakeProof)
    monkeypatch.setattr(FakeProof, "error", error, raising=False)
    monkeypatch.setattr(FakeProof, "is_early", is_early)
    monkeypatch.setattr(FakeProof, "left", 0)
    failure = proved(tmp_path).failure
    assert failure is not None
    assert problem in failure.problem
    assert FakeProof.left == (not is_early)
