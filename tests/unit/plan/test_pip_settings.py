"""What pip's variables say, as uv's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from uv import find_uv_bin

from manywheels.data import table
from manywheels.plan.pip_settings import Follower, withheld

A, B, C = "https://a.example/simple", "https://b.example/simple", "https://c.example/simple"


def made(environment: Mapping[str, str], follower: Follower | None = None) -> dict[str, str]:
    """Return what uv is told in addition."""
    followed = (follower or Follower(is_there=lambda _: True)).follow(environment)
    return {name: followed.environment[name] for name in followed.made}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"PIP_INDEX_URL": A}, {"UV_DEFAULT_INDEX": A}),
        (
            {"PIP_EXTRA_INDEX_URL": f"{A}  {B}\n{C}"},
            {"UV_INDEX": f"{A} {B} {C}", "UV_INDEX_STRATEGY": "unsafe-best-match"},
        ),
        ({"PIP_FIND_LINKS": "/wheels https://a.example/links"}, {"UV_FIND_LINKS": "/wheels,https://a.example/links"}),
        ({"PIP_CONSTRAINT": "a.txt b.txt"}, {"UV_CONSTRAINT": "a.txt b.txt", "UV_BUILD_CONSTRAINT": "a.txt b.txt"}),
        ({"PIP_BUILD_CONSTRAINT": "a.txt"}, {"UV_BUILD_CONSTRAINT": "a.txt"}),
        (
            {"PIP_CONSTRAINT": "run.txt", "PIP_BUILD_CONSTRAINT": "build.txt"},
            {"UV_CONSTRAINT": "run.txt", "UV_BUILD_CONSTRAINT": "build.txt"},
        ),
        ({"PIP_TRUSTED_HOST": "a.example b.example:8080"}, {"UV_INSECURE_HOST": "a.example b.example:8080"}),
        ({"PIP_PRE": "1"}, {"UV_PRERELEASE": "allow"}),
        ({"PIP_PRE": "Yes"}, {"UV_PRERELEASE": "allow"}),
        ({"PIP_PRE": "0"}, {}),
        ({"PIP_PRE": "false"}, {}),
        ({"PIP_NO_BINARY": ":all:"}, {"UV_NO_BINARY": "1"}),
        ({"PIP_NO_BINARY": "numpy,lxml"}, {"UV_NO_BINARY_PACKAGE": "numpy lxml"}),
        ({"PIP_NO_BINARY": "numpy,:none:,lxml"}, {"UV_NO_BINARY_PACKAGE": "lxml"}),
        ({"PIP_NO_BINARY": ":none:"}, {}),
        ({"PIP_ONLY_BINARY": ":all:"}, {"UV_NO_BUILD": "1"}),
        ({"PIP_ONLY_BINARY": "numpy"}, {"UV_NO_BUILD_PACKAGE": "numpy"}),
        ({"PIP_NO_INDEX": "1", "PIP_INDEX_URL": A, "PIP_EXTRA_INDEX_URL": B}, {"UV_DEFAULT_INDEX": "file:///PIP_NO_INDEX"}),
        ({"PIP_NO_INDEX": "0", "PIP_INDEX_URL": A}, {"UV_DEFAULT_INDEX": A}),
        ({"PIP_INDEX_URL": " ", "PIP_EXTRA_INDEX_URL": "", "PIP_CONSTRAINT": ""}, {}),
        ({"PIP_PROGRESS_BAR": "off", "PIP_NO_CACHE_DIR": "1"}, {}),
    ],
)  # fmt: skip
def test_translations(given: Mapping[str, str], told: Mapping[str, str]) -> None:
    assert made(given) == told


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"PIP_CERT": "/a.pem", "REQUESTS_CA_BUNDLE": "/b.pem"}, {"SSL_CERT_FILE": "/a.pem"}),
        ({"REQUESTS_CA_BUNDLE": "/b.pem"}, {"SSL_CERT_FILE": "/b.pem"}),
        ({"CURL_CA_BUNDLE": "/b.pem"}, {"SSL_CERT_FILE": "/b.pem"}),
        ({"PIP_CERT": "/a.pem", "SSL_CERT_FILE": "/own.pem"}, {}),
        ({"PIP_CERT": "/a.pem", "SSL_CERT_DIR": "/own"}, {}),
        ({"PIP_CERT": "/folder"}, {}),
    ],
)
def test_certificates(given: Mapping[str, str], told: Mapping[str, str]) -> None:
    followed = Follower(is_there=lambda path: path == "/folder").follow(given)
    assert {name: followed.environment[name] for name in followed.made} == told
    assert followed.notes == ()


@pytest.mark.parametrize(
    ("own", "pip"),
    [
        ({"UV_DEFAULT_INDEX": B}, {"PIP_INDEX_URL": A}),
        ({"UV_INDEX_URL": B}, {"PIP_INDEX_URL": A}),
        ({"UV_INDEX": B}, {"PIP_EXTRA_INDEX_URL": A}),
        ({"UV_EXTRA_INDEX_URL": B}, {"PIP_EXTRA_INDEX_URL": A}),
        ({"UV_FIND_LINKS": "/own"}, {"PIP_FIND_LINKS": "/wheels"}),
        ({"UV_CONSTRAINT": "own.txt", "UV_BUILD_CONSTRAINT": "own.txt"}, {"PIP_CONSTRAINT": "c.txt"}),
        ({"UV_PRERELEASE": "disallow"}, {"PIP_PRE": "1"}),
    ],
)
def test_uvs_own_variables_win_and_a_note_says_so(own: Mapping[str, str], pip: Mapping[str, str]) -> None:
    followed = Follower(is_there=lambda _: True).follow({**own, **pip})
    assert followed.environment == {**own, **pip}
    (name,) = pip
    assert any(f"does not follow {name}, as {next(iter(own))} is set" in note for note in followed.notes)


def test_the_same_said_to_both_needs_no_note() -> None:
    both = dict.fromkeys(("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT", "UV_CONSTRAINT", "UV_BUILD_CONSTRAINT"), "c.txt")
    assert Follower().follow(both).notes == ()
    assert Follower().follow({"PIP_CONSTRAINT": "c.txt", "UV_CONSTRAINT": "c.txt"}).environment == {
        "PIP_CONSTRAINT": "c.txt", "UV_CONSTRAINT": "c.txt", "UV_BUILD_CONSTRAINT": "c.txt",
    }  # fmt: skip


def test_a_strategy_of_the_users_own_stays() -> None:
    given = {"PIP_EXTRA_INDEX_URL": A, "UV_INDEX_STRATEGY": "first-index"}
    assert made(given) == {"UV_INDEX": A}


def test_folders_that_are_absent_are_left_out_as_pip_does_and_named() -> None:
    follower = Follower(is_there=lambda path: path == "/here")
    followed = follower.follow({"PIP_FIND_LINKS": "/here file:///gone /gone https://a.example/links"})
    assert followed.environment["UV_FIND_LINKS"] == "/here,https://a.example/links"
    assert followed.notes == (
        "PIP_FIND_LINKS names `file:///gone`, which is absent", "PIP_FIND_LINKS names `/gone`, which is absent",
    )  # fmt: skip
    assert "UV_FIND_LINKS" not in follower.follow({"PIP_FIND_LINKS": "/gone"}).environment


def test_paths_are_found_in_every_working_folder_by_pip_too() -> None:
    follower = Follower(locate=lambda word: word if "://" in word else f"/copy/{word}")
    environment = follower.follow({"PIP_CONSTRAINT": f"a.txt {A}", "PIP_INDEX_URL": A}).environment
    assert environment["PIP_CONSTRAINT"] == environment["UV_BUILD_CONSTRAINT"] == f"/copy/a.txt {A}"
    assert environment["PIP_INDEX_URL"] == A


def test_constraints_of_an_option_count_in_addition() -> None:
    follower = Follower(constraints="/pins.txt")
    given = {"PIP_CONSTRAINT": "c.txt", "UV_BUILD_CONSTRAINT": "/pins.txt"}
    assert follower.follow(given).environment == {
        "PIP_CONSTRAINT": "c.txt /pins.txt", "PIP_BUILD_CONSTRAINT": "/pins.txt", "UV_CONSTRAINT": "c.txt /pins.txt",
        "UV_BUILD_CONSTRAINT": "/pins.txt",
    }  # fmt: skip
    followed = follower.follow({})
    assert set(followed.environment.values()) == {"/pins.txt"}
    assert followed.changed(lambda before: before) == followed


def test_what_changes_later_is_followed_later() -> None:
    """`test-environment` sees what `environment` set, and may set it anew."""
    followed = Follower().follow({"PIP_CONSTRAINT": "build.txt", "PIP_INDEX_URL": A})
    changed = followed.changed(lambda before: {**before, "PIP_CONSTRAINT": "test.txt", "PIP_INDEX_URL": ""})
    assert changed.environment == {
        "PIP_CONSTRAINT": "test.txt", "PIP_INDEX_URL": "", "UV_CONSTRAINT": "test.txt",
        "UV_BUILD_CONSTRAINT": "test.txt",
    }  # fmt: skip


@pytest.mark.parametrize("name", table("pip")["untranslated"])
def test_what_uv_cannot_be_told_is_named(name: str) -> None:
    (note,) = Follower().follow({name: "1"}).notes
    assert note.startswith(f"uv does not follow {name}: ")


def test_withheld_indexes_are_named() -> None:
    secret = "https://user:password@a.example/simple"
    caller = {"PIP_INDEX_URL": secret, "UV_INDEX": secret, "PIP_EXTRA_INDEX_URL": A, "https_proxy": secret}
    (note,) = withheld(caller, ["PIP_INDEX_URL"])
    assert note.startswith("UV_INDEX holds credentials")
    assert "password@" not in note


def test_every_variable_of_the_table_reaches_builds() -> None:
    passed = table("environment")["pass"]
    for entry in table("pip")["variable"]:
        assert entry["pip"] in passed
        assert {*entry["uv"], *entry.get("instead", ())} <= {*passed}
    assert {table("pip")["strategy"]["uv"], *table("pip")["uv-toml"].values()} <= {*passed}


def test_uv_knows_the_variables_of_the_table() -> None:
    program = Path(find_uv_bin()).read_bytes()
    names = {name for entry in table("pip")["variable"] for name in (*entry["uv"], *entry.get("instead", ()))}
    for name in {*names, table("pip")["strategy"]["uv"], *table("pip")["uv-toml"].values()}:
        assert name.encode() in program, name
