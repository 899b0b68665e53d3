"""`explain` knows every code that a message can have."""

from __future__ import annotations

import pytest

from conftest import ROOT
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


def test_every_check_has_an_example_and_a_cure_as_its_page_has() -> None:
    page = (ROOT / "docs" / "verify.md").read_text("utf-8")
    assert table("check_examples").keys() == {check.code for check in CHECKS}
    for code, facts in table("check_examples").items():  # as `make docs` writes both
        section = page.partition(f"### {code} ")[2].partition("\n### ")[0]
        assert f"For example: {facts['example']}\n" in section
        assert f"What to do: {facts['cure']}" in section


@pytest.mark.parametrize(
    ("word", "code"), [("MW001", "MW001"), ("mw310", "MW310"), ("MW208", "MW208"), ("208", "MW208")]
)
def test_a_code_is_explained(word: str, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", word]) == 0
    out = capsys.readouterr().out
    assert out.startswith(code)
    assert "\n  For example: " in out
    assert "\n  What to do: " in out


def test_an_unknown_code_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "MW0013"]) == 2
    assert "did you mean `MW" in capsys.readouterr().err
