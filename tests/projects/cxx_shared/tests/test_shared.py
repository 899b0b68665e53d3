import subprocess
import sys
from importlib.resources import files

import pytest
from cxx_shared import _one, _two

FOLDER = files("cxx_shared")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("invalid_argument", "invalid_argument"),
        ("bad_alloc", "bad_alloc"),
        ("system_error", "system_error"),
        ("filesystem_error", "filesystem_error"),
        ("ios_failure", "ios_failure"),
        ("out_of_range", "out_of_range"),
        ("bad_cast", "bad_cast"),
        ("int", "42"),
        ("string", "text"),
        ("vector", "vector 6"),
        ("Refused", "Refused 7"),
        ("nested", "nested 8"),
        ("", "nothing"),
    ],
)
def test_what_the_library_throws_is_caught(name: str, expected: str) -> None:
    assert _one.caught(name) == expected
    assert _one.from_thread(name or "int") == (expected if name else "42")


def test_both_modules_and_the_library_catch_and_translate() -> None:
    assert (_two.caught(1), _two.caught(0)) == (7, 0)
    assert _one.caught_by_library(5) == "Refused 5"
    with pytest.raises(ValueError, match="not this"):
        _one.raised("invalid_argument")
    with pytest.raises(MemoryError):
        _one.raised("bad_alloc")
    with pytest.raises(IndexError):
        _one.raised("out_of_range")


def test_types_are_the_same_in_all_files() -> None:
    assert (_one.kind("square"), _one.kind("box")) == ("square", "box")
    assert _one.same_types()
    box = _one.make("box")
    assert (_two.sides(box), _two.is_box(box), _two.is_box(_one.make("square"))) == (6, True, False)


def test_streams_are_shared() -> None:
    assert _one.streams() == "from the library ff ff"
    assert _one.early() == "true"
    script = "from cxx_shared import _one, _two; _one.print('a'); _two.print('b'); _one.print('c')"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "ab ffc"


def test_threads() -> None:
    assert _one.threads(8) == 800
    assert _one.once(5) == 2
    assert _one.unwound_by_pthread_exit()


def test_the_rest() -> None:
    assert _one.matches("abc12")
    assert not _one.matches("abc")
    assert _one.load(str(FOLDER / "lib" / "libplugin.so")) == "box Refused 9"
    done = subprocess.run([str(FOLDER / "bin" / "program"), "aabb"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "2")
    assert (FOLDER / "generated.txt").read_text() == "generated"
    assert "stdc++" not in (FOLDER / "implicit.txt").read_text()
