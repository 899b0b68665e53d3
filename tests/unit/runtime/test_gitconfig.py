"""Git configurations: they mean what git reads in them, and a copy gets what describes a repository."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from manywheels.runtime.gitconfig import read_text, reduced, settings_in

ODD = [
    "\ufeff[core]\n\tbare = false\n",
    "[core]\r\n\tbare = false\r\n\tabbrev = 12\r\n",
    "[core] bare = false\n",
    '[http "https://x/"] extraHeader = secret\n\tproxy = p',
    "[http]\n\textraheader = \\\n  secret\n\tproxy = p",
    "[http]\n\tproxy = a\\\\\n\textraheader = secret",
    "# a\\\n[http]\n\textraheader = secret",
    "[http]\n\tproxy = a ; b\\\n\textraheader = secret\n",
    "[CREDENTIAL]\n\tHelper = store\n[a]\n\tb",
    '[credential "a]b"] helper = secret\n\tpath = secret',
    '[branch "a \\"b\\" \\\\c"]\n\tremote = o ; comment\n\tmerge = "x ; y" # z\n',
    "[branch.Main]\n\tremote = o\n",
    '[user]\n\tname = A "B  C"  D   \n\temail = " x "\n',
    '[user]\n\tname = a\\tb\\n"c\\bd"\n',
    "[core]\n\tbare\n\tabbrev=7\n\t; comment\n\tautocrlf =\n",
    '[user]\n\tname = "a\\\nb"\n',
    "",
]


@pytest.mark.parametrize("text", ODD)
def test_a_configuration_means_what_git_reads_in_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    listed = subprocess.run(
        ["git", "config", "--file", tmp_path / "config", "--no-includes", "--list", "-z"],
        capture_output=True, check=True, text=True, env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
    )  # fmt: skip
    expected = [entry.partition("\n") for entry in listed.stdout.split("\0") if entry]
    found = [
        (".".join(filter(None, (setting.section, setting.name, setting.key))), setting.value)
        for setting in settings_in(text)
    ]
    lowered = [(name if text.count('"') or "Main" not in name else name.lower(), value) for name, value in found]
    assert lowered == [(name, value if separator else "true") for name, separator, value in expected]


HOSTILE = """[core]
\trepositoryformatversion = 1
\tbare = false
\tworktree = /etc
\tfsmonitor = SECRET
\thooksPath = SECRET
\tsshCommand = SECRET
\tgitProxy = SECRET
\tpager = SECRET
\teditor = SECRET
\taskPass = SECRET
\texcludesFile = SECRET
\tattributesFile = SECRET
\talternateRefsCommand = SECRET
[alias]
\tstatus = !SECRET
[filter "evil"]
\tclean = SECRET
\tsmudge = SECRET
\tprocess = SECRET
[filter "lfs"]
\tclean = SECRET
\tprocess = git-lfs filter-process
\trequired = true
[diff "evil"]
\ttextconv = SECRET
[include]
\tpath = SECRET
[includeIf "gitdir:/"]
\tpath = SECRET
[uploadpack]
\tpackObjectsHook = SECRET
[extensions]
\tobjectFormat = sha256
\trefStorage = reftable
[http]
\textraheader = SECRET
[http "https://git.example/"]
\textraheader = SECRET
\tproxy = https://u:SECRET@proxy.example/
\tcookieFile = SECRET
[credential "https://git.example"]
\thelper = !SECRET
[remote "origin"]
\turl = https://u:SECRET@git.example/demo?private_token=SECRET#SECRET
\tpushurl = https://u:SECRET@git.example/demo
\tproxy = https://u:SECRET@proxy.example/
\tuploadpack = SECRET
\tvcs = SECRET
\tfetch = +refs/heads/*:refs/remotes/origin/*
[remote "ext"]
\turl = ext::SECRET
[remote "option"]
\turl = --upload-pack=SECRET
[url "https://u:SECRET@git.example/"]
\tinsteadOf = https://git.example/
[submodule "a"]
\turl = ssh://u:SECRET@git.example/a
\tupdate = !SECRET
\tactive = true
[branch "main"]
\tremote = origin
\tmerge = refs/heads/main
[unheard-of]
\tkey = SECRET
"""


def test_a_copy_gets_what_describes_the_repository_and_nothing_else() -> None:
    assert (
        reduced(HOSTILE)
        == """[core]
\trepositoryformatversion = 1
\tbare = false
[filter "lfs"]
\tprocess = "git-lfs filter-process"
[extensions]
\tobjectformat = sha256
\trefstorage = reftable
[remote "origin"]
\turl = https://git.example/demo
\tfetch = +refs/heads/*:refs/remotes/origin/*
[submodule "a"]
\turl = ssh://git.example/a
\tactive = true
[branch "main"]
\tremote = origin
\tmerge = refs/heads/main
"""
    )


@pytest.mark.parametrize("text", ODD)
def test_what_is_written_anew_is_read_alike(text: str) -> None:
    once = reduced(text)
    assert reduced(once) == once
    assert "secret" not in once


def test_only_small_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("[core]\n\tabbrev = 12\n")
    (tmp_path / "link").symlink_to("secret")
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    texts = [read_text(tmp_path / name) for name in ("secret", "link", "fifo", "sparse", "absent", ".")]
    assert texts == ["[core]\n\tabbrev = 12\n", "", "", "", "", ""]
