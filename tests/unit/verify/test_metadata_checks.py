"""The checks of *.dist-info: each finds what it is there for and no more, and lets what back ends write pass."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from manywheels.errors import Cancelled
from manywheels.verify import Finding, Severity, check_wheel, rendering
from manywheels.verify.rendering import rendering_fault
from unit.elfmaker import SharedObject
from unit.helpers import PLATFORM, codes, the_one, write_wheel

TOOL = SharedObject(dynamic=False).to_bytes()
INFO = "demo-1.0.dist-info"
LICENCE = "License-Expression: MIT\nLicense-File: LICENSE\n"
PLAIN = "Description-Content-Type: text/plain\n\nA demonstration.\n"


def findings(
    folder: Path,
    fields: str | None = LICENCE + PLAIN,
    *,
    head: str = "Metadata-Version: 2.4\nName: demo\nVersion: 1.0\n",
    members: Mapping[str, bytes] | None = None,
    tags: str = f"cp312-cp312-{PLATFORM}",
    start: str = "demo-1.0",
) -> tuple[Finding, ...]:
    """Return what this module's checks say of a wheel with these fields in METADATA."""
    text = None if fields is None else head + fields
    path = write_wheel(folder, tags=tags, members={"demo/tool": TOOL, **(members or {})}, metadata=text, start=start)
    return tuple(finding for finding in check_wheel(path).findings if finding.code.startswith("MW24"))


def test_honest_metadata_passes(tmp_path: Path) -> None:
    rich = (
        "Summary: A demonstration\nRequires-Python: >=3.9\nRequires-Dist: numpy>=1.20; extra == 'array'\n"
        "Provides-Extra: array\nProject-URL: Home, https://example.org\nClassifier: Typing :: Typed\n"
        "Dynamic: License-File\n"
    )
    points = {f"{INFO}/entry_points.txt": b"[console_scripts]\ndemo = demo.cli:main\n"}
    assert findings(tmp_path, rich + LICENCE + PLAIN, members=points) == ()


# --- MW240: METADATA --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "fields", "faults"),
    [
        ("Metadata-Version: 9.9\nName: demo\nVersion: 1.0\n", "", {"metadata-version": "9.9"}),
        ("Name: demo\nVersion: 1.0\n", "", {"metadata-version": ""}),
        ("Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n", "Dynamic: Keywords\n", {"dynamic": "2.2"}),
        (None, "Requires-Dist: numpy=>1\n", {"requires-dist": "numpy=>1"}),
        (None, "Requires-Dist: UNKNOWN\n", {"requires-dist": "`UNKNOWN` is no dependency"}),
        (None, "Requires-Python: 3.9 or so\n", {"requires-python": "3.9 or so"}),
        (None, "Colour: red\n", {"colour": "no such field"}),
        (None, "Summary: one\nSummary: two\n", {"summary": "twice"}),
        (None, "Requires-Python: x\nRequires-Dist: =\nColour: red\n",
         {"requires-python": "x", "requires-dist": "=", "colour": "no such field"}),
        (None, f"Requires-Dist: a; {'(' * 5000}os_name == 'x'{')' * 5000}\n", {"requires-dist": "nested"}),
    ],
)  # fmt: skip
def test_mw240_wrong_fields_are_all_named(
    tmp_path: Path, head: str | None, fields: str, faults: dict[str, str]
) -> None:
    head = head or "Metadata-Version: 2.4\nName: demo\nVersion: 1.0\n"
    licence = LICENCE if "2.4" in head else "License-File: LICENSE\n"
    found = [one for one in findings(tmp_path, fields + licence + PLAIN, head=head) if one.code == "MW240"]
    assert [finding.problem.member for finding in found] == [f"{INFO}/METADATA"] * len(faults)
    told = "\n".join(finding.problem.message for finding in found)
    for field, fault in faults.items():
        assert f"`{field}`" in told
        assert fault in told


def test_mw240_no_metadata(tmp_path: Path) -> None:
    finding = the_one(findings(tmp_path, None), "MW240")
    assert finding.severity is Severity.ERROR
    assert "METADATA" in finding.problem.message


def test_mw240_of_two_folders(tmp_path: Path) -> None:
    assert codes(findings(tmp_path, members={"other-2.0.dist-info/METADATA": b"Name: other\n"})) == ["MW240"]


def test_mw240_a_vendored_project_is_no_second(tmp_path: Path) -> None:
    assert findings(tmp_path, members={"demo/_vendor/other-2.0.dist-info/METADATA": b"Name: other\n"}) == ()


@pytest.mark.parametrize("version", ["1.1", "1.2", "2.1", "2.2", "2.3"])
def test_mw240_licence_files_before_their_time_pass(tmp_path: Path, version: str) -> None:
    """Setuptools, hatchling and others wrote License-File into metadata before 2.4; twine lets it pass too."""
    head = f"Metadata-Version: {version}\nName: demo\nVersion: 1.0\n"
    fields = PLAIN if version >= "2.1" else "\n"
    assert "MW240" not in codes(findings(tmp_path, "License-File: LICENSE\n" + fields, head=head))


# --- MW241: one identity ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "version", "told"),
    [("demos", "1.0", ["`demos`"]), ("demo", "1.1", ["`1.1`"]), ("other", "2", ["`other`", "`2`"])],
)
def test_mw241_metadata_of_another(tmp_path: Path, name: str, version: str, told: list[str]) -> None:
    found = findings(tmp_path, head=f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n")
    assert codes(found) == ["MW241"] * len(told)
    assert all(text in finding.problem.message for text, finding in zip(told, found, strict=True))
    assert all(finding.problem.member == f"{INFO}/METADATA" for finding in found)


def test_mw241_the_folder_is_called_as_the_file(tmp_path: Path) -> None:
    """The index looks for `demo-1.0.0.dist-info/WHEEL`, by the first two parts of the file name."""
    path = write_wheel(tmp_path, members={"demo/tool": TOOL})
    renamed = path.rename(tmp_path / path.name.replace("demo-1.0", "demo-1.0.0"))
    finding = next(finding for finding in check_wheel(renamed).findings if finding.code == "MW241")
    assert "is not named `demo-1.0.0.dist-info`" in finding.problem.message


def test_mw241_folder_of_another(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, members={"demo/tool": TOOL})
    renamed = path.rename(tmp_path / path.name.replace("demo-1.0", "demo-1.1"))
    found = [str(finding) for finding in check_wheel(renamed).findings if finding.code == "MW241"]
    assert [text.split()[1] for text in found] == [f"{INFO}/METADATA", f"{INFO}/"]


@pytest.mark.parametrize("start", ["demo_kit-1.0", "Demo.Kit-1.0", "demo_kit-1.0.0"])
def test_mw241_normalised_names_are_one(tmp_path: Path, start: str) -> None:
    head = "Metadata-Version: 2.4\nName: Demo-Kit\nVersion: 1.0\n"
    assert "MW241" not in codes(findings(tmp_path, head=head, start=start))


# --- MW242, MW246: description ----------------------------------------------------------------------------------------

RST = "Description-Content-Type: text/x-rst\n\n"
MARKDOWN = "Description-Content-Type: text/markdown\n\n"


@pytest.mark.parametrize(
    ("fields", "kind", "fault"),
    [
        (RST + "See `there`_.\n", "reStructuredText", "there"),
        (RST + "A title\n====\n", "reStructuredText", "underline"),
        (RST + ".. raw:: html\n\n   <b>x</b>\n", "reStructuredText", "raw"),
        (RST + ".. comment only\n", "reStructuredText", "No content"),
    ],
)
def test_mw242_what_does_not_render(tmp_path: Path, fields: str, kind: str, fault: str) -> None:
    finding = the_one(findings(tmp_path, LICENCE + fields), "MW242")
    assert finding.severity is Severity.ERROR
    assert kind in finding.problem.message
    assert fault in finding.problem.message
    assert "<string>" not in finding.problem.message


@pytest.mark.parametrize(
    "fields",
    [
        RST + "Title\n=====\n\nSee `there <https://example.org>`_.\n\n.. code:: python\n\n    print()\n",
        MARKDOWN + "# Title\n\nSee `there`_ and [here](https://example.org).\n\n| a |\n| - |\n| b |\n",
        "Description-Content-Type: text/markdown; charset=UTF-8; variant=CommonMark\n\n# Title\n",
        PLAIN + "See `there`_.\nTitle\n==\n",
    ],
)
def test_mw242_what_renders(tmp_path: Path, fields: str) -> None:
    assert findings(tmp_path, LICENCE + fields) == ()


@pytest.mark.parametrize("content_type", ["text/html", "text/markdown; variant=Pandoc"])
def test_mw242_leaves_unknown_types_to_mw240(tmp_path: Path, content_type: str) -> None:
    found = findings(tmp_path, f"{LICENCE}Description-Content-Type: {content_type}\n\n# Title\n")
    assert "description-content-type" in the_one(found, "MW240").problem.message


@pytest.mark.parametrize(
    "fields",
    ["", "\n", "\nUNKNOWN\n\n\n", "Description-Content-Type: UNKNOWN\n\nUNKNOWN\n",
     "Description-Content-Type: text/plain\n\n \n"],
)  # fmt: skip
def test_mw246_no_description(tmp_path: Path, fields: str) -> None:
    finding = the_one(findings(tmp_path, LICENCE + fields), "MW246")
    assert finding.severity is Severity.WARNING
    assert "no description" in finding.problem.message


@pytest.mark.parametrize("kind", [RST, MARKDOWN])
def test_mw242_blanks_are_a_description_that_does_not_render(tmp_path: Path, kind: str) -> None:
    """As on the index; as plain text they do."""
    assert codes(findings(tmp_path, LICENCE + kind + " \n")) == ["MW242", "MW246"]


def test_mw246_no_content_type(tmp_path: Path) -> None:
    finding = the_one(findings(tmp_path, LICENCE + "\nA demonstration.\n"), "MW246")
    assert "Description-Content-Type" in finding.problem.message


def test_mw242_a_description_without_type_counts_as_restructuredtext(tmp_path: Path) -> None:
    assert codes(findings(tmp_path, LICENCE + "\nSee `there`_.\n")) == ["MW242", "MW246"]


# --- MW243, MW247: licence --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "valid"),
    [
        ("MIT", True),
        ("mit OR apache-2.0", True),
        ("LicenseRef-Ours", True),
        ("BSD", False),
        ("MIT/Apache-2.0", False),
        ("MIT License", False),
        ("(" * 5000 + "MIT" + ")" * 5000, False),
    ],
)
def test_mw243_expressions(tmp_path: Path, expression: str, valid: bool) -> None:  # noqa: FBT001
    found = findings(tmp_path, f"License-Expression: {expression}\nLicense-File: LICENSE\n{PLAIN}")
    assert codes(found) == ([] if valid else ["MW243"])
    assert all(f"`{expression[:20]}" in finding.problem.message for finding in found)
    assert all(len(finding.problem.message) < 500 for finding in found)


def test_mw243_an_expression_before_its_time(tmp_path: Path) -> None:
    head = "Metadata-Version: 2.3\nName: demo\nVersion: 1.0\n"
    assert "2.3" in the_one(findings(tmp_path, LICENCE + PLAIN, head=head), "MW243").problem.message


@pytest.mark.parametrize(
    ("version", "name", "place", "found"),
    [
        ("2.4", "COPYING", "licenses/COPYING", True),
        ("2.4", "third/party/COPYING", "licenses/third/party/COPYING", True),
        ("2.4", "COPYING", "COPYING", False),
        ("2.4", "third/party/COPYING", "licenses/COPYING", False),
        ("2.3", "COPYING", "licenses/COPYING", True),
        ("2.1", "COPYING", "COPYING", True),
        ("2.1", "third/party/COPYING", "COPYING", True),
        ("2.1", "COPYING", "NOTICE", False),
    ],
)
def test_mw243_places_of_licence_files(
    tmp_path: Path,
    version: str,
    name: str,
    place: str,
    found: bool,  # noqa: FBT001
) -> None:
    head = f"Metadata-Version: {version}\nName: demo\nVersion: 1.0\n"
    seen = findings(
        tmp_path, f"License-File: LICENSE\nLicense-File: {name}\n{PLAIN}", head=head,
        members={f"{INFO}/{place}": b"You may."},
    )  # fmt: skip
    assert codes(seen) == ([] if found else ["MW243"])
    assert all(f"`{name}`" in finding.problem.message for finding in seen)


def test_mw247_no_licence_file(tmp_path: Path) -> None:
    path = write_wheel(
        tmp_path, members={"demo/tool": TOOL}, metadata=f"Metadata-Version: 2.4\nName: demo\nVersion: 1.0\n{PLAIN}",
        licence=None,
    )  # fmt: skip
    found = tuple(finding for finding in check_wheel(path).findings if finding.code.startswith("MW24"))
    finding = the_one(found, "MW247")
    assert finding.severity is Severity.WARNING
    assert "license-files" in finding.problem.remedy


@pytest.mark.parametrize("place", ["LICENSE.txt", "LICENCE", "COPYING", "licenses/AUTHORS"])
def test_mw247_a_licence_file_that_metadata_does_not_name(tmp_path: Path, place: str) -> None:
    path = write_wheel(
        tmp_path, members={"demo/tool": TOOL, f"{INFO}/{place}": b"You may."}, licence=None,
        metadata=f"Metadata-Version: 2.4\nName: demo\nVersion: 1.0\n{PLAIN}",
    )  # fmt: skip
    assert not [finding for finding in check_wheel(path).findings if finding.code == "MW247"]


# --- MW244: Requires-Python -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "requires", "fits"),
    [
        ("cp312-cp312", ">=3.9", True),
        ("cp312-cp312", ">=3.12.4", True),
        ("cp312-cp312", ">=3.13", False),
        ("cp312-cp312", "<3.12", False),
        ("cp312-cp312", ">=3.9,!=3.12.*", False),
        ("cp312-cp312", ">=3.9,!=3.12.0", True),
        ("cp313-cp313t", ">=3.14", False),
        ("pp311-pypy311_pp73", ">=3.12", False),
        ("pp311-pypy311_pp73", ">=3.11", True),
        ("cp39-abi3", ">=3.9", True),
        ("cp38-abi3", ">=3.9", True),
        ("cp39-abi3", "<3.9", False),
        ("cp310.cp311-none", ">=3.11", False),
        ("py3-none", ">=3.14", True),
        ("py39-none", ">=3.10", True),
        ("py39-none", "<3", False),
        ("py2.py3-none", ">=3.10", True),
    ],
)
def test_mw244_requires_python(tmp_path: Path, tag: str, requires: str, fits: bool) -> None:  # noqa: FBT001
    found = findings(tmp_path, f"Requires-Python: {requires}\n{LICENCE}{PLAIN}", tags=f"{tag}-{PLATFORM}")
    assert codes(found) == ([] if fits else ["MW244"])
    assert all(f"`{requires}`" in finding.problem.message for finding in found)


def test_mw244_thousands_of_clauses_are_not_tried_one_by_one(tmp_path: Path) -> None:
    requires = ",".join(f"!=3.{number}" for number in range(100, 5_100))
    started = time.process_time()
    found = findings(tmp_path, f"Requires-Python: {requires}\n{LICENCE}{PLAIN}", tags=f"py3-none-{PLATFORM}")
    assert codes(found) == ["MW244"]
    assert "5000 clauses" in found[0].problem.message
    assert time.process_time() - started < 10


# --- MW248: what the index asks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "told", "severity"),
    [
        ("Summary: " + "x" * 513, "513 characters", Severity.ERROR),
        ("Author-email: Me <me@example>", "`me@example` is not a valid address", Severity.ERROR),
        ("Maintainer-email: nobody", "`nobody` is not a valid address", Severity.ERROR),
        ("Home-page: unknown", "`unknown` is not an http or https URL", Severity.ERROR),
        ("Home-page: UNKNOWN.", "`UNKNOWN.` is not an http or https URL", Severity.ERROR),
        ("Project-URL: UNKNOWN", "`` is not an http", Severity.ERROR),
        ("License: MIT", "there is a License-Expression", Severity.ERROR),
        ("Dynamic: Dynamic", "cannot be dynamic", Severity.ERROR),
        ("Home-page: git@github.com:octo/demo.git", "is not an http or https URL", Severity.ERROR),
        ("Download-URL: ftp://example.org", "`ftp://example.org` is not an http", Severity.ERROR),
        (f"Project-URL: {'x' * 33}, https://example.org", "33 characters", Severity.ERROR),
        ("Project-URL: , https://example.org", "0 characters", Severity.ERROR),
        ("Project-URL: Home, example.org", "`example.org` is not an http", Severity.ERROR),
        ("Project-URL: Home", "`` is not an http", Severity.ERROR),
        ("Classifier: Framework :: Django CMS :: 4.2", "use `Framework :: Django CMS :: 5.0`", Severity.ERROR),
        ("Classifier: Programming Language :: Piet", "there is no `Programming Language :: Piet`", Severity.WARNING),
        ("Classifier: Private :: Do Not Upload", "forbids publishing", Severity.WARNING),
        ("Requires-Dist: x @ https://example.org/x.whl", "gives an address for the dependency", Severity.WARNING),
        ("Provides-Dist: x @ https://example.org/x.whl", "gives an address for the dependency", Severity.WARNING),
        ("Obsoletes-Dist: =1", "is not a requirement", Severity.ERROR),
    ],
)
def test_mw248_what_the_index_refuses(tmp_path: Path, fields: str, told: str, severity: Severity) -> None:
    found = [finding for finding in findings(tmp_path, f"{fields}\n{LICENCE}{PLAIN}") if finding.code == "MW248"]
    assert [(finding.severity, told in finding.problem.message) for finding in found] == [(severity, True)], found


@pytest.mark.parametrize(
    "fields",
    [
        "Summary: " + "x" * 512,
        "Author-email: Me <me@example.org>, You <you@example.org>",
        "Home-page: https://example.org:8080/demo?x=1#top",
        f"Project-URL: {'x' * 32}, http://example.org",
        "Classifier: Programming Language :: Python :: 3.12",
        "Requires-Dist: x>=1; extra == 'y'",
        "Provides-Extra: y",
        "Home-page: UNKNOWN\nDownload-URL: UNKNOWN \nAuthor: UNKNOWN\nAuthor-email: UNKNOWN\nLicense: UNKNOWN",
        "Platform: UNKNOWN\nClassifier: Typing :: Typed\nClassifier: UNKNOWN\nKeywords: UNKNOWN",
        "Requires-Python: UNKNOWN\nMaintainer-email: UNKNOWN",
        "Home-page: \nAuthor-email: \nRequires-Python: \nProvides-Extra: ",
        "Dynamic: License-File\nDynamic: requires-dist",
    ],
)
def test_mw248_what_the_index_takes(tmp_path: Path, fields: str) -> None:
    assert codes(findings(tmp_path, f"{fields}\n{LICENCE}{PLAIN}")) == []


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ("Metadata-Version: 2.6\nName: demo\nVersion: 1.0\n", "not `2.6`"),
        ("Metadata-Version: 2.4\nName: UNKNOWN\nVersion: 1.0\n", "`UNKNOWN` for no name"),
    ],
)
def test_mw248_what_only_pypi_refuses(tmp_path: Path, head: str, told: str) -> None:
    start = "UNKNOWN-1.0" if "UNKNOWN" in head else "demo-1.0"
    finding = the_one(findings(tmp_path, head=head, start=start), "MW248")
    assert (finding.severity, finding.problem.only_pypi_refuses) == (Severity.WARNING, True)
    assert told in finding.problem.message


def test_mw248_a_local_version_is_for_an_index_of_ones_own(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, start="demo-1.0+cu12", members={"demo/tool": TOOL})
    finding = the_one(check_wheel(path).findings, "MW248")
    assert finding.severity is Severity.WARNING
    assert "`+cu12`" in finding.problem.message


# --- MW245: entry points ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[console_scripts]\ndemo = demo.cli\n", "needs a function"),
        ("[console_scripts]\ndemo = demo cli:main\n", "not an object reference"),
        ("[console_scripts]\ndemo = demo.1cli:main\n", "not an object reference"),
        ("[console_scripts]\ndemo =\n", "not an object reference"),
        ("[console_scripts]\n../demo = demo:main\n", "a script `../demo`"),
        ("[console_scripts]\ndemo kit = demo:main\n", "a script `demo kit`"),
        ("[gui_scripts]\ndemo+x = demo:main\n", "a script `demo+x`"),
        ("[gui_scripts]\nd%(x)s = demo:main\n", "a script `d%(x)s`"),
        ("demo = demo:main\n", "cannot be parsed"),
        ("[console_scripts]\ndemo\n", "cannot be parsed"),
        ("[console_scripts]\na = demo:a\na = demo:b\n", "cannot be parsed"),
        ("[console_scripts]\na = demo:\xff\n", "cannot be parsed"),
    ],
)
def test_mw245_entry_points_that_break(tmp_path: Path, text: str, told: str) -> None:
    found = findings(tmp_path, members={f"{INFO}/entry_points.txt": text.encode("latin-1")})
    finding = the_one(found, "MW245")
    assert finding.severity is Severity.ERROR
    assert finding.problem.member == f"{INFO}/entry_points.txt"
    assert told in finding.problem.message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[demo-plugins]\nx = demo:x\n", "`demo-plugins`"),
        ("[demo.plugins]\nx = demo:x:y\n", "not an object reference"),
        ("[demo.plugins]\n[x = demo:x\n", "begins like a group"),
    ],
)
def test_mw245_what_only_its_users_read_is_a_warning(tmp_path: Path, text: str, told: str) -> None:
    """The index takes it, and installers do not look at it."""
    finding = the_one(findings(tmp_path, members={f"{INFO}/entry_points.txt": text.encode()}), "MW245")
    assert finding.severity is Severity.WARNING
    assert told in finding.problem.message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"[demo.plugins]\nd = a{' ' * 500_000}!\n", "more than 1,000 characters"),
        (f"[demo.plugins]\na{' ' * 500_000}b\n", "more than 1,000 characters"),
        ("[demo.plugins]\nd = a\n" + "\n" * 100_000 + "  !\n", "not an object reference"),
    ],
)
def test_mw245_is_told_of_hostile_texts_in_little_time(tmp_path: Path, text: str, told: str) -> None:
    began = time.process_time()
    found = findings(tmp_path, members={f"{INFO}/entry_points.txt": text.encode()})
    assert told in the_one(found, "MW245").problem.message
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# none\n",
        "[console_scripts]\ndemo-kit.3=demo.cli:main\nDemo = demo:Main.run\n",
        "[gui_scripts]\ndemo = demo:main [gui]\n",
        "[pytest11]\ndemo = demo.plugin\n",
        "[pygments.lexers]\na/b: c = demo:Lexer\n",
        "[demo.plugins]\n%x = demo : x\n",
        "[paste.app_factory]\nmain = demo:größe\n",
    ],
)
def test_mw245_entry_points_that_are_fine(tmp_path: Path, text: str) -> None:
    assert findings(tmp_path, members={f"{INFO}/entry_points.txt": text.encode()}) == ()


# --- descriptions that take their time --------------------------------------------------------------------------------

LONG = "* a\n\n" * 8_000


def test_a_long_description_is_rendered_elsewhere() -> None:
    assert rendering_fault(LONG[:16_500], None) == ("reStructuredText", None)
    kind, fault = rendering_fault(f"{LONG[:16_500]}\n.. nonsense::\n", "text/x-rst")
    assert kind == "reStructuredText"
    assert fault is not None
    assert "nonsense" in fault


def test_a_description_that_takes_too_long_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """docutils took 50 s of a processor for a list of two megabytes, and hours for some tables."""
    monkeypatch.setattr(rendering, "PROCESSOR", 1)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert rendering_fault(LONG * 10, "text/x-rst")[1] == "it takes more than 1 s, or too much memory"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5


def test_rendering_is_stopped() -> None:
    children = Path("/proc/self/task", str(os.getpid()), "children")
    before, processes = children.read_text().split(), set[str]()

    def stop() -> None:
        processes.update(set(children.read_text().split()) - set(before))
        raise Cancelled("Stopped.", remedy="")

    with pytest.raises(Cancelled):
        rendering_fault(LONG * 10, "text/x-rst", stop)
    assert processes
    assert not any(Path("/proc", process).exists() for process in processes)
