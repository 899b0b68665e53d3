"""`explain` knows every code that a message can have."""

from __future__ import annotations

import pytest

from manywheels.cli.explain import errors, explanations
from manywheels.cli.main import main
from manywheels.data import table
from manywheels.verify.checks import CHECKS


def test_every_error_has_an_example_and_a_cure() -> None:
    codes = {kind.code for kind in errors()}
    assert codes == set(table("explanations"))
    for code in codes:
        assert table("explanations")[code].keys() == {"example", "cure"}


def test_every_code_is_explained_once() -> None:
    codes = [kind.code for kind in errors()] + [check.code for check in CHECKS]
    assert len(codes) == len(set(codes))
    assert explanations().keys() == set(codes)


@pytest.mark.parametrize("code", ["MW001", "mw310", "MW208"])
def test_a_code_is_explained(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", code]) == 0
    out = capsys.readouterr().out
    assert out.startswith(code.upper())
    assert len(out.splitlines()) >= 3


def test_an_unknown_code_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "MW0013"]) == 2
    assert "did you mean `MW" in capsys.readouterr().err
