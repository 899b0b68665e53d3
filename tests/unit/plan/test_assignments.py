"""Variables are read as a shell reads them, and nothing that only a shell could do is taken for text."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Mapping

import pytest
from cibuildwheel.environment import parse_environment
from hypothesis import given as examples
from hypothesis import strategies as st

from manywheels.errors import InputError, TargetError
from manywheels.plan.assignments import Assignment, as_written, change_texts, evaluate, expand, parse, run_commands
from manywheels.plan.shell_words import Reference, Run
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
    "X=1 # two $(three)\nY=2",
    "X={a,b}}",
    "X=${ABSENT:-c} Y=${EMPTY:-c} Z=${A:-c}",
    "X=${ABSENT-c} Y=${EMPTY-c} Z=${A-c}",
    'X="${ABSENT:-$A/x}" Y=${ABSENT:-"a b"}',
    "X=${ABSENT:-${EMPTY:-deep}}",
    "X=$(printf %s one) Y=`printf %s two`",
    'X="$(printf %s "a b" \'c\' "$A" d\\ e)/lib"',
    "X=$(printf 'a\\n\\n'; printf b)",
    'X="`printf %s "a b"`"',
    'X="`printf %s \\`printf in\\``"',
    "X=$(\n  printf one\n  printf two\n)",
    "X=$(printf %s $(printf '%s' \"$(printf in)\"))",
    "X=5 Y=$(printenv X)",
    'PATH="$PATH:/usr/bin" X="$(printf %s "it\'s ($PATH)")"',
]


@pytest.mark.parametrize("text", UNDERSTOOD)
def test_values_are_those_of_a_shell(text: str) -> None:
    """bash, which shall put nothing in for `*`, is asked what it makes of the same text."""
    made = expand(evaluate(parse(given(text), "environment"), BEFORE, lambda _: run), BEFORE)
    names = sorted({*BEFORE, *made})
    script = f'set -f -a\n{text}\nfor name in {" ".join(names)}; do printf \'%s=%s\\0\' "$name" "${{!name}}"; done'
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
        ("A='open", "a quote is not closed"),
        ('A="open', "a quote is not closed"),
        ("A=\\", "a backslash ends it"),
        ("A=$(id | wc)", "`|` must be quoted"),
        ("A=$(id && id)", "`&` must be quoted"),
        ("A=$(id 2>/dev/null)", "`>` must be quoted"),
        ("A=$(<file)", "`<` must be quoted"),
        ("A=$(id", "`$(` is not closed"),
        ("A=$(id 'b)", "a quote is not closed"),
        ("A=`id", "a backtick is not closed"),
        ("A=$()", "`$()` has no command"),
        ("A=``", "`$()` has no command"),
        ("A=$(B=1 id)", "`B=1` in `$(…)` needs a shell"),
        ("A=$(if id; then id; fi)", "`if` in `$(…)` needs a shell"),
        ("A=$(id # who)", "a comment in `$(…)` needs a shell"),
        ("A=$(ls ~/x)", "write `$HOME`"),
        ("A=" + 11 * "$(a " + 11 * ")", "nested more than 10 deep"),
        ("A=$((1+1))", "`$((…))` needs a shell"),
        ("A=${B:-a b}", "has a blank without quotes"),
        ("A=\"${B:-'c'}\"", "single quotes in"),
        ("A=${B:+c}", "only `$NAME`, `${NAME}`"),
        ("A=${B", "only `$NAME`, `${NAME}`"),
        ("A=$1", "only `$NAME`, `${NAME}`"),
        ("A=$@", "only `$NAME`, `${NAME}`"),
        ("A=$'a'", "only `$NAME`, `${NAME}`"),
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


@examples(st.text(alphabet="AB=_ '\"\\$`{}();&|<>~#\n1:-", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        made = parse(given(text), "environment")
        expand(as_written(made), BEFORE)
        expand(evaluate(made, BEFORE, lambda _: shown), BEFORE)


# --- commands ---------------------------------------------------------------------------------------------------------


def run(command: tuple[str, ...], environment: Mapping[str, str]) -> str:
    program = shutil.which(command[0]) or command[0]
    return subprocess.run([program, *command[1:]], env=environment, capture_output=True, text=True, check=True).stdout


def shown(command: tuple[str, ...], _: Mapping[str, str]) -> str:
    """Return a command as its own output."""
    return f"<{'|'.join(command)}>\n"


THEIRS = [
    "X=$(id)",
    'X="$(pwd)/lib"',
    "X=`id -u`",
    'X="`id "a b"`"',
    'X="$(id "a b" \'c\' $A "$A" \\$A)"',
    "X=$(a; b; c)",
    "X=$(a Y=1)",
    'X=$(echo $(id) "$(b c)")',
    "X='$(a)' Y=\"\\$(a)\"",
    "X=$(a)$(a)x$A$A",
    "X=$(python -c \"import x; print('$A')\")",
    'X="$(python -c "import x; print(\'hi\')")"',
    "X=$(a `b`)",
    'X="${A}"/$(b)',
    'X=$(a b\\ c "d\\"e" \'f\')',
    'X="it\'s $(a)"',
    "X=1 Y=$(a $X) Z=$Y",
    'VAR2=something"like this""$A"$A$(echo "there is more")"$(echo "and more!")"',
    'SOMETHING="$(echo a; echo b; echo c)"',
    "X=$(ls *.so {a,b})",
]


@pytest.mark.parametrize("text", THEIRS)
def test_commands_are_those_that_cibuildwheel_runs(text: str) -> None:
    theirs = parse_environment(text).as_dictionary(BEFORE, executor=lambda command, env: shown(tuple(command), env))
    made = parse(given(text), "environment")
    assert expand(evaluate(made, BEFORE, lambda _: shown), BEFORE) == theirs


def test_a_command_runs_once_with_the_variables_before_it_and_only_if_its_value_counts() -> None:
    seen = []

    def run_for(variable: str) -> Run:
        def run(command: tuple[str, ...], environment: Mapping[str, str]) -> str:
            seen.append((variable, command, environment.get("X"), environment.get("Y")))
            return "made  \n\n"

        return run

    text = 'X=$(one) Y=$X:$PATH Z=${A:-$(never)}${B:-$(two "$Y")}'
    made = evaluate(parse(given(text), "environment"), BEFORE, run_for)
    assert seen == [("X", ("one",), None, None), ("Z", ("two", "made:/bin"), "made", "made:/bin")]
    assert not run_commands(made)
    assert expand(made, {**BEFORE, "PATH": "/venv"})["Y"] == "made:/venv", "variables are put in where they are used"
    assert expand(made, BEFORE)["Z"] == "a bmade"


def test_a_plan_has_commands_as_they_are_written() -> None:
    made = parse(given('X="$(cat {project}/a)" Y=${B:-`id`} Z=1'), "environment")
    assert run_commands(made)
    assert not run_commands(made[2:])
    assert expand(as_written(made), {})["X"] == "$(cat {project}/a)"
    assert expand(as_written(made), {})["Y"] == "`id`"
    with pytest.raises(ValueError, match="`cat` was not run before"):
        expand(made, {})
    filled = change_texts(made, lambda text: text.replace("{project}", "/p"))
    assert expand(evaluate(filled, {}, lambda _: shown), {})["X"] == "<cat|/p/a>"


def test_a_value_has_a_bound() -> None:
    doubled = " ".join(["A=xxxxxxxx", *["A=$A$A$A$A$A$A$A$A$A"] * 12])
    with pytest.raises(TargetError, match="131072 characters"):
        expand(parse(given(doubled), "environment"), {})
    once = "B=" + "x" * 131_072
    assert len(expand(parse(given(once), "environment"), {})["B"]) == 131_072
