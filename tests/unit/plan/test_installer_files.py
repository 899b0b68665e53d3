"""What the caller's pip.conf and uv.toml say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from manywheels.plan.installer_files import read_caller

A, B = "https://a.example/simple", "https://b.example/simple"
SECRET = "https://user:hunter2@a.example/simple"


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """Return the variables of a caller whose configuration is in `tmp_path`, and nothing of this machine's own."""
    return {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "etc")}


@pytest.fixture(autouse=True)
def _not_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    is_file = Path.is_file
    monkeypatch.setattr(Path, "is_file", lambda path: not path.is_relative_to("/etc") and is_file(path))


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    return file


def said(home: dict[str, str], tmp_path: Path, **variables: str) -> dict[str, str]:
    environment = read_caller({**home, **variables}, tmp_path).environment
    return {name: value for name, value in environment.items() if name not in {*home, *variables}}


@pytest.mark.parametrize("place", [".pip/pip.conf", ".config/pip/pip.conf", "etc/pip/pip.conf"])
def test_pip_conf(place: str, home: dict[str, str], tmp_path: Path) -> None:
    file = write(tmp_path / place, f"[global]\nindex-url = {A}\ntimeout = 60\n[install]\nno_index = true\npre = 1\n")
    assert said(home, tmp_path) == {"PIP_INDEX_URL": A, "PIP_NO_INDEX": "true", "PIP_PRE": "1"}
    assert read_caller(home, tmp_path).origins["PIP_INDEX_URL"] == str(file)


def test_several_lines_and_the_command_s_own_section(home: dict[str, str], tmp_path: Path) -> None:
    text = f"[install]\nfind-links =\n    {A}\n    /wheels\n[global]\nfind-links = /other\n[freeze]\npre = 1\n"
    write(tmp_path / ".config/pip/pip.conf", text)
    assert said(home, tmp_path) == {"PIP_FIND_LINKS": f"{A} /wheels"}


def test_which_of_several_files_wins(home: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / "etc/pip/pip.conf", f"[global]\nindex-url = {A}\nextra-index-url = {A}\n")
    write(tmp_path / ".pip/pip.conf", f"[global]\nindex-url = {B}\n")
    assert said(home, tmp_path) == {"PIP_INDEX_URL": B, "PIP_EXTRA_INDEX_URL": A}
    chosen = write(tmp_path / "ci.conf", "[global]\npre = yes\n")  # in place of the user's own
    assert said(home, tmp_path, PIP_CONFIG_FILE=str(chosen)) == {
        "PIP_INDEX_URL": A, "PIP_EXTRA_INDEX_URL": A, "PIP_PRE": "yes",
    }  # fmt: skip
    assert said(home, tmp_path, PIP_CONFIG_FILE=os.devnull) == {}


def test_variables_win_over_files_unless_they_are_empty(home: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / ".config/pip/pip.conf", f"[global]\nindex-url = {A}\nextra-index-url = {A}\n")
    caller = read_caller({**home, "PIP_INDEX_URL": B, "PIP_EXTRA_INDEX_URL": ""}, tmp_path)
    assert (caller.environment["PIP_INDEX_URL"], caller.environment["PIP_EXTRA_INDEX_URL"]) == (B, A)
    assert list(caller.origins) == ["PIP_EXTRA_INDEX_URL"]


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (".config/pip/pip.conf", f"[global]\nindex-url = {SECRET}\n"),
        (".config/uv/uv.toml", f'index-url = "{SECRET}"\n'),
        (".config/uv/uv.toml", f'[[index]]\nname = "own"\nurl = "{SECRET}"\n'),
    ],
)
def test_credentials_stay_in_their_file(place: str, text: str, home: dict[str, str], tmp_path: Path) -> None:
    file = write(tmp_path / place, text)
    caller = read_caller(home, tmp_path)
    assert caller.environment == home
    (note,) = caller.notes
    assert str(file) in note
    assert "credentials" in note
    assert "hunter2" not in note


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("proxy", "http://proxy.example:3128"), ("client-cert", "/key.pem"), ("keyring-provider", "subprocess"),
        ("prefer-binary", "true"), ("uploaded-prior-to", "2026-01-01"), ("require-hashes", "true"),
    ],
)  # fmt: skip
def test_what_cannot_be_translated_is_named(setting: str, value: str, home: dict[str, str], tmp_path: Path) -> None:
    file = write(tmp_path / ".config/pip/pip.conf", f"[global]\n{setting} = {value}\n")
    caller = read_caller(home, tmp_path)
    assert caller.environment == home
    (note,) = caller.notes
    assert f"`{setting}` of {file}" in note
    name = f"PIP_{setting.replace('-', '_').upper()}"
    (note,) = read_caller({**home, name: value, "PIP_CONFIG_FILE": os.devnull}, tmp_path).notes
    assert f"builds do not follow {name}: " in note


@pytest.mark.parametrize("content", [b"no section\n", b"[global]\nindex-url\n", b"\xff\xfe", b"[global\n"])
def test_a_pip_conf_that_is_none(content: bytes, home: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / ".config/pip/pip.conf", "").write_bytes(content)
    assert read_caller(home, tmp_path).environment == home


@pytest.mark.parametrize(
    "text", ["index-url = ", "index-url = 7", "[[index]]\nurl = 7", 'find-links = [["x"]]', "index = 1"]
)
def test_a_uv_toml_that_is_none(text: str, home: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / ".config/uv/uv.toml", text)
    assert read_caller(home, tmp_path).environment == home


def test_a_fifo_is_no_configuration(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".pip").mkdir()
    os.mkfifo(tmp_path / ".pip/pip.conf")
    assert read_caller(home, tmp_path).environment == home


def test_uv_toml(home: dict[str, str], tmp_path: Path) -> None:
    file = write(
        tmp_path / ".config/uv/uv.toml",
        f'extra-index-url = ["{A}", "{B}"]\nfind-links = ["./wheels", "{A}"]\nprerelease = "allow"\n'
        'system-certs = true\nno-binary-package = ["numpy", "lxml"]\ncache-dir = "/cache"\noffline = false\n',
    )
    assert said(home, tmp_path) == {
        "UV_EXTRA_INDEX_URL": f"{A} {B}", "UV_FIND_LINKS": f"{file.parent}/wheels,{A}", "UV_PRERELEASE": "allow",
        "UV_SYSTEM_CERTS": "true", "UV_NO_BINARY_PACKAGE": "numpy lxml",
    }  # fmt: skip


def test_indexes_of_uv_toml(home: dict[str, str], tmp_path: Path) -> None:
    text = f'[[index]]\nname = "own"\nurl = "{A}"\n[[index]]\nurl = "{B}"\ndefault = true\n'
    write(tmp_path / ".config/uv/uv.toml", text)
    assert said(home, tmp_path) == {"UV_INDEX": f"own={A}", "UV_DEFAULT_INDEX": B}


@pytest.mark.parametrize(
    "text", [f'[[index]]\nname = "own"\nurl = "{A}"\nexplicit = true\n', 'constraint-dependencies = ["a<2"]\n',
             "no-index = true\n", "[pip]\nno-deps = true\n"],
)  # fmt: skip
def test_what_no_variable_of_uv_says_is_named(text: str, home: dict[str, str], tmp_path: Path) -> None:
    file = write(tmp_path / ".config/uv/uv.toml", text)
    caller = read_caller(home, tmp_path)
    assert caller.environment == home
    (note,) = caller.notes
    assert str(file) in note


def test_which_uv_toml(home: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / "etc/uv/uv.toml", f'index-url = "{A}"\nprerelease = "allow"\n')
    write(tmp_path / ".config/uv/uv.toml", f'index-url = "{B}"\n')
    assert said(home, tmp_path) == {"UV_INDEX_URL": B, "UV_PRERELEASE": "allow"}
    chosen = write(tmp_path / "ci.toml", f'index-url = "{A}"\n')
    assert said(home, tmp_path, UV_CONFIG_FILE=str(chosen)) == {"UV_INDEX_URL": A}
    assert said(home, tmp_path, UV_NO_CONFIG="1") == {}


def test_paths_are_the_caller_s(home: dict[str, str], tmp_path: Path) -> None:
    """The program works in other folders."""
    write(tmp_path / "ci/pins.txt", "")
    write(tmp_path / "wheels/x.whl", "")
    given = {
        "PIP_CONSTRAINT": "ci/pins.txt requirements/of-the-project.txt https://a.example/c.txt",
        "PIP_FIND_LINKS": "~/wheels file:///elsewhere",
        "PIP_NO_BINARY": "wheels",
    }
    found = read_caller({**home, **given}, tmp_path).environment
    assert found["PIP_CONSTRAINT"] == f"{tmp_path}/ci/pins.txt requirements/of-the-project.txt https://a.example/c.txt"
    assert found["PIP_FIND_LINKS"] == f"{tmp_path}/wheels file:///elsewhere"
    assert found["PIP_NO_BINARY"] == "wheels"
