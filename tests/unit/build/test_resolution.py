"""Build requirements are asked of the index for one Python, and of uv's cache for the others, if that knows as much."""

from __future__ import annotations

from manywheels.build.resolution import Requires, _answers, _Question


def question(python: str) -> _Question:
    return _Question(python=python, platform="", constraints=())


class Index:
    """Has `answers` by Python; what is asked `offline`, the cache answers as the index would, or as `stale` says."""

    def __init__(self, answers: dict[str, Requires], stale: dict[str, Requires] | None = None) -> None:
        self.answers, self.stale = answers, stale or {}
        self.asked: list[str] = []

    def __call__(self, asked: _Question, *, offline: bool = False) -> Requires:
        if offline:
            return self.stale.get(asked.python, self.answers[asked.python])
        self.asked.append(asked.python)
        return self.answers[asked.python]

    def found(self) -> dict[str, Requires]:
        found = _answers([question(python) for python in self.answers], self)
        return {asked.python: answer for asked, answer in found.items()}


def test_the_index_is_asked_once_for_the_same_packages() -> None:
    index = Index({"3.9": ("cython==3.1", "tomli==2.0"), "3.12": ("cython==3.1",), "3.13": ("cython==3.1",)})
    assert index.found() == index.answers
    assert index.asked == ["3.9"]


def test_a_package_that_the_first_python_lacks_is_asked_for() -> None:
    index = Index({"3.9": ("cython==3.1",), "3.12": ("cython==3.1", "new==2.0")}, {"3.12": ("cython==3.1", "new==1.0")})
    assert index.found() == index.answers
    assert index.asked == ["3.9", "3.12"]


def test_what_the_cache_cannot_resolve_is_asked_for() -> None:
    index = Index({"3.9": ("cython==3.1",), "3.12": ("cython==3.1",)}, {"3.12": None})
    assert index.found() == index.answers
    assert index.asked == ["3.9", "3.12"]


def test_without_an_index_the_cache_does_not_count() -> None:
    index = Index({"3.9": None, "3.12": None}, {"3.12": ("cython==3.1",)})
    assert index.found() == {"3.9": None, "3.12": None}


def test_nothing_asked_is_nothing_found() -> None:
    assert Index({}).found() == {}
