"""Variables are read as a shell reads them, and nothing that only a shell could do is taken for text."""

from __future__ import annotations

import contextlib
import shutil
import subprocess

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from manywheels.errors import InputError
from manywheels.plan.assignments import Assignment, Reference, expand, parse
from unit.helpers import given

BEFORE = {"PATH": "/bin", "HOME": "/root", "A": "a b", "EMPTY": ""}
UNDERSTOOD = [
    "",
    "X=1",
    "X=1 Y=2",
    "X=",
    "X=a=b",
    "  X=\"-O3 -g0\"\n\tY='two words'  ",
    'PATH="$PATH:/opt/bin"',
    "PATH=$PATH:/opt/bin",
    "PATH=${PATH}x",
    "X=$A",
    "X='$A'",
    'X="\\$A"',
    "X=\\$A",
    "X=$A$A",
    "X=1 Y=$X$X",
    "X=1 X=${X}2",
    "X=$ABSENT-",
    "X=$EMPTY.",
    "X=5$ Y='$'",
    'X="$"',
    "X=a'b'\"c\"\\ d",
    'X="a\\b\\"c\\\\d"',
    'X="it\'s"',
    "X='say \"hi\"'",
    "X=\\\nY",
    'X="a\\\nb"',
    'X="a\nb"',
    "X=ü.é",
    "X=a#b",
    "X='`id` $(id)'",
    "X=$Y Y=late",
    "X=*.so",
    "X='~/a:~/b' Y=a~b",
]


@pytest.mark.parametrize("text", UNDERSTOOD)
def test_values_are_those_of_a_shell(text: str) -> None:
    """bash, which shall put nothing in for `*`, is asked what it makes of the same text."""
    made = expand(parse(given(text), "environment"), BEFORE)
    names = sorted({*BEFORE, *made})
    script = f'set -f\n{text}\nfor name in {" ".join(names)}; do printf \'%s=%s\\0\' "$name" "${{!name}}"; done'
    told = subprocess.run(
        [shutil.which("bash") or "bash", "-c", script], env=BEFORE, capture_output=True, text=True, check=True
    )
    expected = dict(item.split("=", 1) for item in told.stdout.split("\0") if item)
    assert {name: made.get(name, "") for name in names} == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("CFLAGS", "`CFLAGS` is not one"),
        ("1A=b", "`1A=b` is not one"),
        ("A-B=c", "`A-B=c` is not one"),
        ("A=1 =b", "`=b` is not one"),
        ("A=1 #b", "`#b` is not one"),
        ("A='open", "a quote is not closed"),
        ('A="open', "a quote is not closed"),
        ("A=\\", "a backslash ends it"),
        ("A=$(id)", "no shell evaluates this"),
        ('PATH="$(pwd)/bin:$PATH"', "no shell evaluates this"),
        ("A=`id`", "no shell evaluates this"),
        ('A="`id`"', "no shell evaluates this"),
        ("A=$((1+1))", "no shell evaluates this"),
        ("A=${B:-c}", "only `$NAME` and `${NAME}`"),
        ("A=${B", "only `$NAME` and `${NAME}`"),
        ("A=$1", "only `$NAME` and `${NAME}`"),
        ("A=$@", "only `$NAME` and `${NAME}`"),
        ("A=a;B=b", "`;` must be quoted"),
        ("A=a>b", "`>` must be quoted"),
        ("A=a&B=b", "`&` must be quoted"),
        ("A=~/bin", "write `$HOME`"),
        ("PATH=$PATH:~/bin", "write `$HOME`"),
    ],
)
def test_what_needs_a_shell_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(given(text, "INPUT_ENVIRONMENT"), "environment")
    assert caught.value.message == f"INPUT_ENVIRONMENT: `{text}` is not a value of `environment`."
    assert reason in caught.value.remedy


def test_values_have_one_form_however_they_are_quoted() -> None:
    plain, quoted = parse(given("A=x$B/y"), "environment"), parse(given("A='x'\"$B\"'/y'"), "environment")
    assert plain == quoted == (Assignment(name="A", value=("x", Reference("B"), "/y")),)


def test_the_environment_that_was_there_is_left_as_it_was() -> None:
    before = {"PATH": "/bin"}
    assert expand(parse(given("PATH=$PATH:/x"), "environment"), before) == {"PATH": "/bin:/x"}
    assert before == {"PATH": "/bin"}


@examples(st.text(alphabet="AB=_ '\"\\$`{}();&|<>~#\n1", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        expand(parse(given(text), "environment"), BEFORE)
