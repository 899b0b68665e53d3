"""The step summary as GitHub shows it, with any text of a project and any number of wheels."""

from __future__ import annotations

import re
import tracemalloc
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from manywheels.core.markdown import LIMIT, code, fenced, prose
from manywheels.report.summary import step_summary
from manywheels.wheels.manifest import Manifest, TargetRecord, TargetState, TestRun
from scale import scaled
from unit.gfm import to_html
from unit.helpers import built, failed, manifest, wheel_record

GITHUB_TAKES = 1024 * 1024
MARKUP = [
    "`", "``x`", "```\n# out", "~~~", "|", "a|b", "\\|", "<img src=x>", "</code><h1>x", "</details>", "<!--", "&lt;",
    "**x**", "_x_", "__init__", "[x](http://evil.example)", "![x](http://evil.example/x.png)", "http://evil.example",
    "www.evil.example", "a@evil.example", "@somebody", "#123", ":tada:", "$x$", "# x", "- x", "1. x", "> x", "\n\n# x",
    "\r# x", "---", "===", "+ x", "    x", "x  ", "\x00", "\u202e", "\udc80", "汉字", "\u200b",
]  # fmt: skip
HOSTILE = st.lists(st.one_of(st.sampled_from(MARKUP), st.characters()), max_size=8).map("".join)


class Page(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


def rendered(summary: str) -> Page:
    """Return the summary as GitHub shows it."""
    return Page(to_html(summary))


def hostile_run(words: str) -> Manifest:
    """Return a run in which every text that a project can choose is `words`."""
    tags = (words, f"cp312-{words}-{words}")
    wheel = replace(wheel_record("cp312"), name=words, tags=tags, glibc=words, libraries=(words,))
    failure = failed("cp313", problem=words, excerpt=(words, words), remedy=words)
    assert failure.failure
    failure = replace(failure, log=words, failure=replace(failure.failure, code=words, stage=words))
    tested = TestRun(passed=False, seconds=1, log=words, failed=(words,))
    one = replace(
        built("cp312", warnings=(words,)), wheel=wheel, tests=tested, began={words: 0.0}, seconds={words: 3.0}
    )
    whole = manifest(replace(one, identifier=words), failure)
    return replace(whole, project=words, platform=words, toolchain=words, manywheels=words, warnings=(words,))


def many(count: int, make: str) -> Manifest:
    record = built() if make == "built" else failed(excerpt=("x" * 400,) * 30, problem="p" * 300)
    records = [replace(record, identifier=f"cp3{number}-manylinux_x86_64") for number in range(count)]
    if make == "failed":
        records = [replace(r, failure=r.failure and replace(r.failure, problem=f"{n}")) for n, r in enumerate(records)]
    return manifest(*(replace(r, began={"build": float(n)}, seconds={"build": 5.0}) for n, r in enumerate(records)))


# --- its content ------------------------------------------------------------------------------------------------------


def test_the_table_has_all_facts_about_a_wheel() -> None:
    wheel = replace(
        wheel_record("cp312"),
        libraries=("libgomp-1.so.1",),
        tags=("cp312-cp312-manylinux2014_x86_64", "cp312-cp312-manylinux_2_17_x86_64"),
    )
    whole = manifest(replace(built("cp312"), wheel=wheel, tests=TestRun(passed=True, seconds=1, log="x", count=12)))
    table = [line for line in step_summary(whole).splitlines() if line.startswith("|")]
    cells = [rendered(cell).text.strip().replace("\xa0", " ") for cell in table[2].strip("| ").split(" | ")]
    assert table[0] == "| target | wheel | size | tags | lowest glibc | bundled libraries | tests | time |"
    assert cells == [
        "✅ cp312", wheel.name, "417 kB", "cp312-cp312 manylinux2014 manylinux_2_17", "2.17",
        "libgomp-1.so.1", "✅ 12 passed", "8.3 s",
    ]  # fmt: skip


def test_the_table_has_every_target() -> None:
    absent = TargetRecord(identifier="cp39-manylinux_x86_64", state=TargetState.NO_INTERPRETER)
    reused = replace(built("cp313"), state=TargetState.REUSED, built_for="cp312-manylinux_x86_64")
    page = rendered(step_summary(manifest(built("cp312"), reused, failed("cp311"), absent)))
    assert page.elements.count("tr") == 1 + 4
    assert "served by cp312" in page.text
    assert "no interpreter" in page.text


def test_a_failure_is_shown_once_with_its_lines() -> None:
    page = rendered(step_summary(manifest(failed("cp311"), failed("cp312"))))
    assert page.text.count("unknown type name 'fooo'") == 1
    assert page.elements.count("h3") == 2
    assert "Same as cp311-manylinux_x86_64." in page.text


def test_the_time_line_draws_seconds_as_milliseconds() -> None:
    record = replace(built("cp312"), began={"build": 1.5, "repair": 9.0}, seconds={"build": 7.5, "repair": 1.0})
    drawing = re.search(r"```mermaid\n(.*?)\n```", step_summary(manifest(record)), re.DOTALL)
    assert drawing
    tasks = [line.strip() for line in drawing[1].splitlines() if ", " in line]
    narrow = "\u200b :9000, 10000"  # a name beside it would lie on what follows
    assert tasks == ["waiting 1.5 s :done, 0, 1500", "build 7.5 s :active, 1500, 9000", narrow]


def test_nothing_is_drawn_if_nothing_ran() -> None:
    assert "mermaid" not in step_summary(manifest(replace(built(), seconds={}, began={})))


def test_warnings_are_shown_once_with_their_targets() -> None:
    summary = step_summary(
        manifest(built("cp311", warnings=("MW1 `x` odd",)), built("cp312", warnings=("MW1 `x` odd",)))
    )
    assert "- <code>cp311 cp312</code> MW1 <code>x</code> odd" in summary


# --- nothing in it is the project's markup ----------------------------------------------------------------------------


@settings(max_examples=scaled(150, least=20), deadline=None)
@given(HOSTILE)
@example("\x00---")
def test_no_project_writes_markup(words: str) -> None:
    honest, hostile = rendered(step_summary(hostile_run("x"))), rendered(step_summary(hostile_run(words)))
    assert set(hostile.elements) <= {*honest.elements, "code", "wbr"}
    assert hostile.elements.count("tr") == honest.elements.count("tr")
    assert hostile.elements.count("td") == honest.elements.count("td")
    assert {name for name, _ in hostile.attributes} <= {"class", "open"}


@settings(max_examples=scaled(200, least=20), deadline=None)
@given(HOSTILE)
def test_code_shows_any_text(words: str) -> None:
    cell = rendered(f"| a |\n| --- |\n| {code(words)} |")
    assert cell.elements.count("td") == 1
    shown = re.sub(r"[\x00-\x20\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", "", words)
    assert re.sub(r"\s", "", cell.text.removeprefix("\na\n")) == "a" + re.sub(r"\s", "", shown)


@pytest.mark.parametrize("run", [1, 3, 4, 17])
def test_no_line_closes_its_fence(run: int) -> None:
    page = rendered(fenced(["before", "`" * run, f"   {'`' * run}", "<b>", "after"]))
    assert page.elements == ["pre", "code"]
    assert page.text.strip().splitlines() == ["before", "`" * run, f"   {'`' * run}", "<b>", "after"]


def test_prose_keeps_words_between_backticks_as_code() -> None:
    assert prose("Give `jobs 1` or <b>") == "Give <code>jobs 1</code> or &#60;b&#62;"
    assert prose("an odd ` one") == "an odd &#96; one"


# --- for any number of wheels -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", ["built", "failed"])
def test_thousands_of_wheels_stay_below_the_limit(make: str) -> None:
    whole = many(2_000, make)
    summary = step_summary(whole)
    size = len(summary.encode())
    assert size <= LIMIT < GITHUB_TAKES
    if make == "built":
        assert summary.count("demo-1&#46;0") == 2_000  # all of these still fit
    else:
        assert re.search(r"\*\d+ more failures: see the manifest and the logs\.\*", summary)
        assert "| target | wheel |" in summary
    assert len(re.findall("^    section ", summary, re.MULTILINE)) == 60
    assert "(the first 60 of 2000 targets)" in summary


def test_omissions_are_stated_and_the_rest_is_complete() -> None:
    summary = step_summary(many(3_500, "built"))
    assert len(summary.encode()) <= LIMIT
    shown = summary.count("demo-1&#46;0")
    assert f"*{3_500 - shown} more targets: see the manifest and the logs.*" in summary
    assert rendered(summary).elements.count("tr") == shown + 1


def test_length_is_counted_in_bytes() -> None:
    record = built()
    assert record.wheel
    wide = [replace(record, identifier="汉" * 200, wheel=replace(record.wheel, name="汉" * 300)) for _ in range(3_000)]
    assert len(step_summary(manifest(*wide)).encode()) <= LIMIT


@pytest.mark.parametrize("words", ["x" * 1_100_000, "汉_" * 200_000, "`" * 300_000])
def test_names_of_any_length_fit(words: str) -> None:
    assert len(step_summary(hostile_run(words)).encode()) <= LIMIT


def test_the_summary_takes_little_memory() -> None:
    whole = many(3_500, "built")
    tracemalloc.start()
    step_summary(whole)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 9_000_000
