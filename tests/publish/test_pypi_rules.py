"""PyPI's rules: what the preflight says of a file, beside what the index does with it.

Each case is a distribution that is honest but for one thing. It is put to the preflight, and sent to the tests' index,
which follows PyPI's own server. Both agree; where they do not, the case says why.
"""

from __future__ import annotations

import io
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import requests
from packaging.metadata import parse_email

from index import LocalIndex
from manywheels.core.cancellation import Cancellation
from manywheels.data import table
from manywheels.deliver.index.http import Requests, index_retries
from manywheels.deliver.index.preflight import Preflight, Wanted, run_preflight
from manywheels.deliver.index.simple_api import Index, addresses
from unit.helpers import write_wheel
from unit.wheelmaker import wheel_spec, write_spec
from unit.zipmaker import Lies, MemberSpec

Make = Callable[[Path], Path]
MIB = 1 << 20
HEAD = "Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n"
LICENCE = "License-Expression: MIT\nLicense-File: LICENSE\n"
TEXT = "Description-Content-Type: text/plain\n\nA demonstration.\n"
HOOK = b"# __pyarmor" + b"_enter__\n"  # in parts: an sdist of these tests would be refused for the whole word
LEGACY = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


@dataclass(frozen=True, kw_only=True)
class Case:
    """`taken` by the index, `refused` by the preflight, which says `told`; `why` where both, or neither, are so."""

    name: str
    make: Make
    taken: bool
    refused: bool
    why: str = ""
    told: str = ""


def taken(name: str, make: Make) -> Case:
    return Case(name=name, make=make, taken=True, refused=False)


def refused(name: str, make: Make, told: str) -> Case:
    return Case(name=name, make=make, taken=False, refused=True, told=told)


def stricter(name: str, make: Make, told: str, why: str) -> Case:
    """The index does not look, but an installer comes to harm."""
    return Case(name=name, make=make, taken=True, refused=True, told=told, why=why)


def warned(name: str, make: Make, told: str, why: str) -> Case:
    """The index refuses it now; whether it will is not known here."""
    return Case(name=name, make=make, taken=False, refused=False, told=told, why=why)


# --- makers -----------------------------------------------------------------------------------------------------------


def wheel(
    fields: str = "", *, head: str = HEAD, licence: str = LICENCE, text: str = TEXT, members: Any = None, **others: Any
) -> Make:
    """Return a maker of a pure wheel of demo 1.0 with these fields; `others` are write_wheel's."""
    metadata = head + fields + licence + text
    return lambda folder: write_wheel(
        folder, **{"tags": "py3-none-any", "metadata": metadata, "members": members, **others}
    )


def entry_points(text: str) -> Make:
    return wheel(members={"demo-1.0.dist-info/entry_points.txt": text.encode()})


def sdist(
    fields: str = "", *, head: str = HEAD, licence: str = LICENCE, text: str = TEXT, file: str = "demo-1.0.tar.gz",
    top: str = "demo-1.0", project: str = "demo", members: Mapping[str, bytes] | None = None, lacks: str = "",
    change: Callable[[tarfile.TarInfo], None] = lambda _: None,
) -> Make:  # fmt: skip
    """Return a maker of an sdist; `change` is done to the header of each of `members`."""
    info = (head + fields + licence + text).replace("{name}", project).replace("{version}", "1.0")
    files = {f"{top}/PKG-INFO": info.encode(), f"{top}/LICENSE": b"Do.\n", f"{top}/pyproject.toml": b"\n"}
    files.pop(f"{top}/{lacks}", None)

    def make(folder: Path) -> Path:
        path = folder / file
        if file.endswith(".zip"):
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in files.items():
                    archive.writestr(name, content)
            return path
        with tarfile.open(path, "w:gz") as tar:
            for name, content in {**files, **(members or {})}.items():
                header = tarfile.TarInfo(name)
                header.size = len(content)
                if name in (members or {}):
                    change(header)
                tar.addfile(header, io.BytesIO(content))
        return path

    return make


def archive(*members: MemberSpec, **fields: Any) -> Make:
    """Return a maker of a pure wheel that is written from its bytes."""
    return lambda folder: write_spec(folder, replace(wheel_spec(*members), **fields))


def recorded(change: Callable[[bytes], bytes]) -> Make:
    honest = wheel_spec().members[-1].content
    return archive_of(change(honest))


def archive_of(record: bytes) -> Make:
    return lambda folder: write_spec(folder, wheel_spec(record=record))


def zeros(mebibytes: int) -> MemberSpec:
    return MemberSpec(name="demo/zeros", content=bytes(mebibytes * MIB))


def as_link(header: tarfile.TarInfo) -> None:
    header.type, header.linkname, header.size = tarfile.SYMTYPE, "/etc/passwd", 0


def as_sparse(header: tarfile.TarInfo) -> None:
    header.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": header.name,
                          "GNU.sparse.realsize": "10"}  # fmt: skip


def with_zip_behind(make: Make) -> Make:
    def both(folder: Path) -> Path:
        path = make(folder)
        with path.open("ab") as file:
            file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, 0, 0, 0, 0))
        return path

    return both


def renamed(make: Make, old: str, new: str) -> Make:
    def rename(folder: Path) -> Path:
        path = make(folder)
        return path.rename(path.with_name(path.name.replace(old, new)))

    return rename


SPARSE = b"1\n0\n10\n".ljust(512, b"\0") + bytes(10)
LONG_RST = "Description-Content-Type: text/x-rst\n\n"
LONGEST = f"demo-1.{'1' * (246 - len('demo-1.-py3-none-any.whl'))}"

CASES = [
    taken("an honest wheel", wheel()),
    taken("an honest sdist", sdist()),
    # Names
    refused("capitals in a wheel's name", wheel(start="Demo-1.0"), "should be written `demo`"),
    refused("dots in a wheel's name", wheel(start="demo.kit-1.0"), "should be written `demo_kit`"),
    refused("capitals in the name of a wheel for Windows",
            wheel(start="Demo-1.0", tags="cp312-cp312-win_amd64"), "must begin with `demo`"),
    taken("a wheel's version that is written otherwise", wheel(start="demo-1.0.0")),
    taken("the longest name", wheel(start=LONGEST)),
    refused("a name that is longer", wheel(start=f"{LONGEST}1"), "has 247 bytes"),
    refused("a zip", sdist(file="demo-1.0.zip"), "must be named `demo-1.0.tar.gz`"),
    refused("capitals in an sdist's name", sdist(file="Demo-1.0.tar.gz"), "must be named `demo-1.0.tar.gz`"),
    refused("an sdist's version that is written otherwise", sdist(file="demo-1.0.0.tar.gz"), "must be named"),
    refused("a hyphen in an sdist's name",
            sdist(file="demo-kit-1.0.tar.gz", project="demo-kit"), "must be named `demo_kit-1.0.tar.gz`"),
    taken("another name for the sdist's folder", sdist(top="Demo-1.0.0")),
    # Projects
    refused("a new project called as a module", wheel(start="asyncio-1.0"), "no new project may be called `asyncio`"),
    refused("a new project called as a module was", wheel(start="distutils-1.0"), "no new project may be called"),
    warned("a new project with a name that is barred", wheel(start="prohibited-1.0"), "",
           "the list of such names is not public"),
    # Tags
    taken("Windows", wheel(tags="cp312-cp312-win_arm64")),
    taken("macOS", wheel(tags="cp312-cp312-macosx_11_0_arm64.macosx_10_13_x86_64")),
    refused("a minor version of macOS 11", wheel(tags="cp312-cp312-macosx_11_1_arm64"), "`macosx_11_1_arm64`"),
    taken("iOS", wheel(tags="cp313-cp313-ios_13_0_arm64_iphonesimulator")),
    taken("Android", wheel(tags="cp313-cp313-android_21_arm64_v8a")),
    refused("Pyodide's own tag", wheel(tags="cp313-cp313-pyodide_2025_0_wasm32"), "`pyodide_2025_0_wasm32`"),
    taken("Pyodide's tag on the index", wheel(tags="cp313-cp313-pyemscripten_2025_0_wasm32")),
    refused("a wheel that was not repaired",
            wheel(tags="py3-none-linux_x86_64", members={"demo/x.so": b""}), "refuses the platform tag `linux_x86_64`"),
    # Metadata
    taken("metadata 2.5", wheel(head=HEAD.replace("2.4", "2.5"))),
    refused("metadata 2.6", wheel(head=HEAD.replace("2.4", "2.6")), "not `2.6`"),
    refused("metadata 2.6 in an sdist", sdist(head=HEAD.replace("2.4", "2.6")), "not `2.6`"),
    refused("License beside License-Expression", wheel("License: MIT\n"), "`License` that the index refuses"),
    refused("both in an sdist", sdist("License: MIT\n"), "`License` that the index refuses"),
    taken("License alone", wheel("License: MIT\n", licence="License-File: LICENSE\n")),
    warned("a classifier that is not known", wheel("Classifier: Programming Language :: Piet\n"),
           "there is no `Programming Language :: Piet`", "it may be newer than this list"),
    warned("a classifier that is not known in an sdist", sdist("Classifier: Programming Language :: Piet\n"),
           "there is no `Programming Language :: Piet`", "it may be newer than this list"),
    refused("a classifier that is deprecated", wheel("Classifier: Natural Language :: Ukranian\n"), "is deprecated"),
    refused("a private classifier", sdist("Classifier: Private :: Do Not Upload\n"), "forbids publishing"),
    refused("a local version", wheel(start="demo-1.0+cu12"), "makes it a local one"),
    taken("512 characters", wheel(f"Summary: {'x' * 512}\n")),
    refused("513 characters", sdist(f"Summary: {'x' * 513}\n"), "513 characters"),
    taken("a label of 32 characters", sdist(f"Project-URL: {'x' * 32}, https://example.org\n")),
    refused("a label of 33 characters", sdist(f"Project-URL: {'x' * 33}, https://example.org\n"), "33 characters"),
    refused("a URL without a label", sdist("Project-URL: https://example.org\n"), "Project-URL"),
    refused("a mail address as a URL", sdist("Home-page: mailto:ada@example.org\n"), "is not an http or https URL"),
    refused("what is no address", sdist("Author-email: nobody\n"), "is not a valid address"),
    taken("two addresses", sdist("Author-email: Ada <ada@example.org>, Bob <bob@example.org>\n")),
    taken("a name instead of an address", sdist("Author-email: Ada Lovelace <>\n")),
    refused("a dependency by URL", wheel("Requires-Dist: x @ https://example.org/x.whl\n"), "gives an address"),
    refused("a dependency that is none", sdist("Requires-Dist: x=>1\n"), "requires-dist"),
    refused("a Requires-Python that is none", sdist("Requires-Python: 3 or so\n"), "requires-python"),
    refused("Dynamic: Dynamic", sdist("Dynamic: Dynamic\n"), "cannot be dynamic"),
    taken("Dynamic", sdist("Dynamic: License-File\nDynamic: Home-page\n")),
    refused("an extra with a blank", wheel("Provides-Extra: a b\n"), "provides-extra"),
    taken("keywords, platforms, extras", wheel("Keywords: a,b c\nPlatform: any\nPlatform: linux\nProvides-Extra: x\n")),
    # UNKNOWN, and nothing
    taken("UNKNOWN", wheel("Home-page: UNKNOWN\nAuthor-email: UNKNOWN\nLicense: UNKNOWN\nPlatform: UNKNOWN\n",
                           head=LEGACY, licence="")),
    taken("UNKNOWN in an sdist",
          sdist("Home-page: UNKNOWN\nAuthor-email: UNKNOWN\nDownload-URL: UNKNOWN\n", head=LEGACY, licence="")),
    taken("UNKNOWN where it is no value", sdist("Requires-Python: UNKNOWN\nProvides-Extra: UNKNOWN\n")),
    stricter("UNKNOWN as a dependency", wheel("Requires-Dist: UNKNOWN\n"), "`UNKNOWN` is no dependency",
             "pip would install a project of that name"),
    stricter("an empty dependency", wheel("Requires-Dist: \n"), "requires-dist", "pip and uv refuse the wheel"),
    taken("UNKNOWN as a description and its type",
          wheel(head=LEGACY, licence="", text="Description-Content-Type: UNKNOWN\n\nUNKNOWN\n\n\n")),
    refused("UNKNOWN as the name", wheel(start="unknown-1.0", head=HEAD.replace("{name}", "UNKNOWN")), "for no name"),
    refused("unknown in small letters", sdist("Home-page: unknown\n"), "is not an http or https URL"),
    taken("an empty URL", wheel("Home-page: \nAuthor-email: \n")),
    # Descriptions
    refused("what does not render", wheel(text=f"{LONG_RST}See `there`_.\n"), "cannot be rendered"),
    refused("what does not render in an sdist", sdist(text=f"{LONG_RST}See `there`_.\n"), "cannot be rendered"),
    refused("blanks", sdist(text=f"{LONG_RST} \n"), "cannot be rendered"),
    taken("blanks as plain text", wheel(text="Description-Content-Type: text/plain\n\n \n")),
    taken("no description", sdist(text="")),
    # Licence files
    refused("an sdist without its licence file", sdist(lacks="LICENSE"), "there is no `demo-1.0/LICENSE`"),
    refused("an sdist with another licence file",
            sdist(licence="License-File: third/LICENSE\n"), "there is no `demo-1.0/third/LICENSE`"),
    taken("licence files in folders",
          sdist(licence="License-File: third/LICENSE\n", members={"demo-1.0/third/LICENSE": b"Do.\n"})),
    taken("a licence file that metadata of 2.1 name", sdist(head=LEGACY, licence="License-File: NOTICE\n")),
    refused("a wheel without its licence file", wheel(licence="License-File: NOTICE\n"), "licence file `NOTICE`"),
    # Entry points
    taken("scripts", entry_points("[console_scripts]\ndemo-kit.3 = demo:main\n")),
    *(
        refused(f"a script called `{name}`", entry_points(f"[console_scripts]\n{name} = demo:main\n"), "has a script")
        for name in ("demo kit", "demo+", "demo%x", "../demo")
    ),
    refused("a script of a window", entry_points("[gui_scripts]\nde mo = demo:main\n"), "has a script"),
    taken("any name in another group", entry_points("[demo.plugins]\na b+c = demo:x\n")),
    taken("a reference that is none in another group", entry_points("[demo-plugins]\nx = not a reference\n")),
    stricter("a script without a function", entry_points("[console_scripts]\ndemo = demo\n"), "needs a function",
             "pip stops at it"),
    refused("no table", entry_points("demo = demo:main\n"), "cannot be parsed"),
    # Archives
    taken("a comment on the archive", archive(comment=b"hello")),
    refused("a comment on a member", archive(MemberSpec(name="demo/a", content=b"a", central=Lies(comment=b"x"))),
            "has a comment"),
    refused("a data descriptor", archive(MemberSpec(name="demo/a", content=b"a", flags=8)), "data descriptor"),
    refused("something before the archive", archive(prefix=b"#!/bin/sh\n"), "10 bytes"),
    taken("one member that inflates a thousand times", archive(zeros(20))),
    taken("63 MiB of zeros", archive(zeros(63))),
    refused("65 MiB of zeros", archive(zeros(65)), "inflate to"),
    refused("PyArmor's mark in a comment", wheel(members={"demo/a.py": HOOK}), "a mark of PyArmor"),
    taken("PyArmor's mark in a text", wheel(members={"demo/a.txt": HOOK})),
    refused("PyArmor's mark in an sdist", sdist(members={"demo-1.0/a.py": HOOK}), "a mark of PyArmor"),
    refused("a sparse member", sdist(members={"demo-1.0/x": SPARSE}, change=as_sparse), "another size"),
    refused("two folders", sdist(members={"other/x": b""}), "Too many top-level members"),
    refused("an sdist that is a zip, too", with_zip_behind(sdist()), "as a zip archive, too"),
    taken("a link in an sdist", sdist(members={"demo-1.0/x": b""}, change=as_link)),
    # What the index does not look at
    stricter("a wrong hash", recorded(lambda text: re.sub(rb"sha256=\w", b"sha256=_", text, count=1)), "MW232",
             "the file is not what was built"),
    stricter("a file that RECORD lacks", recorded(lambda text: text.partition(b"\n")[2]), "MW231",
             "it is never uninstalled"),
    stricter("a path that leads out", archive(MemberSpec(name="../x", content=b"x")), "MW222", "it writes elsewhere"),
    stricter("an absolute path", archive(MemberSpec(name="/x", content=b"x")), "MW222", "it writes elsewhere"),
    stricter("a link", archive(MemberSpec(name="demo/x", content=b"/etc/passwd", mode=0o120777)), "MW223",
             "it leads elsewhere"),
    stricter("names that collide",
             archive(MemberSpec(name="demo/A", content=b"A"), MemberSpec(name="demo/a", content=b"a")), "MW221",
             "one overwrites the other on some systems"),
    refused("a folder of another name", renamed(wheel(), "demo-1.0", "demo-1.0.0"), "`demo-1.0.0.dist-info`"),
]  # fmt: skip


# --- both sides -------------------------------------------------------------------------------------------------------


@pytest.fixture
def index() -> Iterator[LocalIndex]:
    with LocalIndex() as index:
        yield index


def preflight(index: LocalIndex, folder: Path) -> Preflight:
    where = replace(addresses(index.upload_url), has_rules=True)
    cancellation = Cancellation()
    with Requests(cancellation) as transport:
        asked = Index(where, transport, index_retries(cancellation))
        return run_preflight(Wanted(folder=folder), asked)


def said(found: Preflight) -> str:
    return "\n".join([*(f"{problem.member} {problem.message}" for problem in found.problems), *found.warnings])


FORM = {"platforms": "platform", "supported_platforms": "supported_platform", "license_files": "license_file"}


def fields_of(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the form's fields as twine makes them, without what manywheels makes of them."""
    raw, _ = parse_email(declaration(path))
    if raw.get("metadata_version", "") < "2.4":
        raw.pop("license_files", None)
    for name, value in raw.items():
        values = [f"{label}, {url}" for label, url in value.items()] if isinstance(value, dict) else value
        values = [", ".join(values)] if name == "keywords" else values  # type: ignore[arg-type]
        yield from ((FORM.get(name, name), one) for one in (values if isinstance(values, list) else [str(values)]))


def declaration(path: Path) -> bytes:
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path) as tar:
            found = next(member for member in tar if member.name.endswith("/PKG-INFO"))
            stream = tar.extractfile(found)
            assert stream
            return stream.read()
    with zipfile.ZipFile(path) as files:
        return files.read(next(name for name in files.namelist() if name.endswith(("dist-info/METADATA", "PKG-INFO"))))


def upload(index: LocalIndex, path: Path) -> str:
    """Return nothing, or why the index refuses a file."""
    kind = ("bdist_wheel", "py3") if path.suffix == ".whl" else ("sdist", "source")
    own = [(":action", "file_upload"), ("protocol_version", "1"), ("filetype", kind[0]), ("pyversion", kind[1])]
    own.append(("sha256_digest", sha256(path.read_bytes()).hexdigest()))
    answer = requests.post(
        index.upload_url, data=[*fields_of(path), *own], auth=("__token__", index.api_token()), timeout=60,
        files={"content": (path.name, path.read_bytes(), "application/octet-stream")},
    )  # fmt: skip
    return "" if answer.ok else answer.reason


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_preflight_foresees_what_the_index_does(index: LocalIndex, tmp_path: Path, case: Case) -> None:
    path = case.make(tmp_path)
    found = preflight(index, tmp_path)
    problem = upload(index, path)
    assert (not problem) == case.taken, problem or "the index takes it"
    assert bool(found.problems) == case.refused, said(found)
    assert case.told in said(found), said(found)
    assert case.why or case.taken is not case.refused


# --- projects ---------------------------------------------------------------------------------------------------------


def test_an_archived_project_takes_no_files(index: LocalIndex, tmp_path: Path) -> None:
    path = wheel()(tmp_path)
    index.put_in_state("demo", "archived")
    assert "the project `demo` is archived: the index accepts no files for it" in said(preflight(index, tmp_path))
    assert "isn't allowed to upload" in upload(index, path)
    index.put_in_state("demo", "active")
    assert preflight(index, tmp_path).problems == ()
    assert not upload(index, path)


def test_a_quarantined_project_lists_no_files_and_takes_some(index: LocalIndex, tmp_path: Path) -> None:
    path = wheel()(tmp_path)
    index.put_in_state("demo", "quarantined")
    found = preflight(index, tmp_path)
    assert found.problems == ()
    assert "the project `demo` is quarantined" in said(found)
    assert not upload(index, path)
    assert not upload(index, path)  # the same again


def test_an_archived_project_that_has_all_files_already(index: LocalIndex, tmp_path: Path) -> None:
    upload(index, wheel()(tmp_path))
    index.put_in_state("demo", "archived")
    assert preflight(index, tmp_path).problems == ()


def test_a_project_that_exists_may_have_the_name_of_a_module(index: LocalIndex, tmp_path: Path) -> None:
    path = wheel(start="asyncio-1.0")(tmp_path)
    index.put_in_state("asyncio", "active")
    assert preflight(index, tmp_path).problems == ()
    assert not upload(index, path)


def test_the_size_of_all_files_of_a_project(index: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "two"
    folder.mkdir()
    one, two = wheel()(tmp_path), wheel(start="demo-1.1")(folder)
    assert not upload(index, one)
    limit = one.stat().st_size + two.stat().st_size - 1
    monkeypatch.setitem(table("index"), "max_project_size", limit)
    index.settings.max_project_size = limit
    assert f"would have {limit + 1:,} bytes, the index accepts {limit:,}" in said(preflight(index, folder))
    assert "Project size too large" in upload(index, two)
    # A project that has more than the usual limit has a higher one.
    monkeypatch.setitem(table("index"), "max_project_size", one.stat().st_size - 1)
    index.settings.max_project_size = limit + 1
    assert preflight(index, folder).problems == ()
    assert not upload(index, two)


def test_other_indexes_take_what_pypi_alone_refuses(index: LocalIndex, tmp_path: Path) -> None:
    wheel("Classifier: Private :: Do Not Upload\n", start="Demo-1.0+cu12", members={"demo/a.py": HOOK})(tmp_path)
    sdist(head=HEAD.replace("2.4", "2.6"), file="Demo-1.0.zip")(tmp_path)
    cancellation = Cancellation()
    with Requests(cancellation) as transport:
        where = replace(addresses(index.upload_url), has_rules=False)
        found = run_preflight(Wanted(folder=tmp_path), Index(where, transport, index_retries(cancellation)))
    assert found.problems == ()
    # A licence file that metadata name is missing on every index.
    sdist(lacks="LICENSE")(tmp_path)
    assert said(preflight(index, tmp_path)).count("there is no `demo-1.0/LICENSE`") == 1
