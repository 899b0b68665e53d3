"""Contents: the wheel has what its tag promises, and no leftovers of the source tree."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator, Sequence
from typing import Final

from packaging.utils import canonicalize_name

from manywheels.core.text import some
from manywheels.verify.checks.loading import is_extension_module
from manywheels.verify.model import Check, Problem, Severity, Wheel
from manywheels.wheels.wheelfile import is_tagged

# In site-packages, these names are accidents: projects would share them.
_FOREIGN_FOLDERS: Final = frozenset(
    ["bench", "benches", "benchmark", "benchmarks", "build", "ci", "cmake", "dist", "doc", "docs", "example",
     "examples", "node_modules", "samples", "script", "scripts", "src", "subprojects", "target", "test", "tests",
     "third_party", "tools", "vendor"]
)  # fmt: skip
_FOREIGN_FILES: Final = re.compile(
    r"(conftest|setup|noxfile|tasks|build|_build|test|tests|run_?tests|example|docs)\.py|"
    r"(pyproject|Cargo|tox|setup|pytest|requirements)\.(toml|lock|ini|cfg|txt)|"
    r"(readme|licen[cs]e|changelog|changes|history|news|authors|contributing|copying|manifest)(\.(md|rst|txt|in))?|"
    r"makefile|cmakelists\.txt|meson\.build|dockerfile|[.]gitignore|[.]gitattributes",
    re.IGNORECASE,
)

# Singular, plural, pattern of the path, remedy; the first match counts.
_EXCLUDE: Final = "Exclude them in the back end's configuration"
_DESKTOP: Final = r"(^|/)(\.DS_Store|Thumbs\.db|desktop\.ini)$|\.(orig|rej|bak|swp|swo)$|~$"
_BUILD_RECORDS: Final = (
    r"(^|/)(build\.log|config\.log|CMakeCache\.txt|compile_commands\.json|\.ninja_(log|deps))$|"
    r"(^|/)(CMakeFiles|meson-logs)/"
)
_LEFTOVERS: Final = tuple(
    (one, many, re.compile(pattern), remedy)
    for one, many, pattern, remedy in (
        ("a file of a version control system", "files of a version control system", r"(^|/)\.(git|hg|svn)(/|$)",
         f"{_EXCLUDE}."),
        ("a compiled Python file", "compiled Python files", r"(^|/)__pycache__/|\.py[co]$",
         f"{_EXCLUDE}: installers compile them."),
        ("a file of an editor, a patch or a desktop", "files of an editor, a patch or a desktop", _DESKTOP,
         f"{_EXCLUDE}."),
        ("metadata of an earlier build", "files of an earlier build's metadata", r"(^|/)[^/]+\.egg-info(/|$)",
         f"{_EXCLUDE}, and clean the source tree."),
        ("a record of the build", "records of the build", _BUILD_RECORDS,
         f"{_EXCLUDE}, and clean the source tree."),
        ("an object file or static library", "object files or static libraries", r"\.(o|obj|a|lib|lo|la)$",
         f"{_EXCLUDE}, unless users are to link against them."),
        ("a C, C++, Cython or Rust source", "C, C++, Cython or Rust sources", r"\.(c|cc|cpp|cxx|pyx|rs)$",
         f"{_EXCLUDE}, unless users are to compile against them: the sdist has them."),
    )
)  # fmt: skip
_SCHEMES: Final = frozenset({"data", "headers", "platlib", "purelib", "scripts"})  # PEP 427
_CUSTOMIZING: Final = frozenset({"sitecustomize.py", "usercustomize.py"})
_SITE_IN_DATA: Final = re.compile(r"[^/]+\.data/data/(?:.+/)?(?:(?:site|dist)-packages|python3\.\d+t?)/[^/]+$")
_OFFERED: Final = re.compile(r"(^|/)includes?/")  # header-only libraries have sources there


def platform_wheel_has_elf_files(wheel: Wheel) -> Iterator[Problem]:
    """A wheel with a platform tag has an extension module, shared library or program; a warning for `py3-none`."""
    if not wheel.name.is_pure and not wheel.machine_code:
        yield Problem(
            message=f"has no ELF file, but the tag is `{'.'.join(wheel.name.platforms)}`",
            remedy="See in the log why the extension modules were not built; a wheel without them is `py3-none-any`.",
            severity=Severity.WARNING if wheel.name.is_for_any_python else None,
        )


def pure_wheel_has_no_elf_files(wheel: Wheel) -> Iterator[Problem]:
    """A wheel for any platform has no extension module; shared libraries and programs are a warning."""
    if not wheel.name.claims_any:
        return
    found = sorted(wheel.machine_code)
    if found:
        modules = any(is_extension_module(file) for file in wheel.elves) or any(map(is_tagged, wheel.broken_elves))
        yield Problem(
            member=shared_place(found),
            message="is machine code, in a wheel for any platform"
            if len(found) == 1
            else f"has {len(found)} files of machine code, in a wheel for any platform: {some(found)}",
            remedy="Tell the back end that the project has extension modules, or leave the files out.",
            severity=None if modules or not wheel.name.is_pure else Severity.WARNING,
        )


def top_level_is_own(wheel: Wheel) -> Iterator[Problem]:
    """No name at the top of site-packages looks like a part of the source tree, as `tests` or `setup.py`."""
    found = {}
    for member, path in _installed(wheel):
        top, below, _ = path.partition("/")
        if canonicalize_name(top.removesuffix(".py")) == wheel.name.name:
            continue
        if (top.lower() in _FOREIGN_FOLDERS) if below else _FOREIGN_FILES.fullmatch(top):
            found[member.removesuffix(path) + top + below] = top + below
    for member, name in found.items():
        yield Problem(
            member=member,
            message=f"is installed at the top of site-packages, where any project may have a `{name}`",
            remedy="List the project's packages in the back end's configuration, instead of including all folders.",
        )


def no_code_at_start(wheel: Wheel) -> Iterator[Problem]:
    """No .pth file, sitecustomize.py or usercustomize.py is installed: every start of Python reads them."""
    for member, name in _read_at_start(wheel):
        if name in _CUSTOMIZING:
            yield Problem(
                member=member,
                message="is run whenever Python starts, and replaces the environment's own",
                remedy="Leave it out: the file is for administrators of an environment.",
            )
    yield from (
        Problem(
            member=member,
            message="runs code whenever Python starts"
            if any(line.startswith(("import ", "import\t")) for line in lines)
            else "is read whenever Python starts, and adds to sys.path",
            remedy="Leave it out, unless it is the package's purpose.",
        )
        for member, lines in _path_files(wheel)
    )


def path_files_stay_inside(wheel: Wheel) -> Iterator[Problem]:
    """No .pth file names a folder of the build machine, as those of editable installations do."""
    yield from (
        Problem(
            member=member,
            message=f"adds {some(folders)} of the build machine to sys.path"
            if folders
            else "is part of an editable installation",
            remedy="Build the wheel with the back end's `build_wheel`, not with `build_editable`.",
        )
        for member, lines in _path_files(wheel)
        if (folders := [line for line in lines if line.startswith("/")])
        or member.rpartition("/")[2].startswith("__editable__")
    )


def nothing_left_over(wheel: Wheel) -> Iterator[Problem]:
    """There are no caches, sources, object files, logs or other leftovers of builds and tools."""
    found: dict[int, list[str]] = {}
    for member, path in _installed(wheel):
        for number, (_, _, pattern, _) in enumerate(_LEFTOVERS):
            if pattern.search(path) and not _OFFERED.search(path):
                found.setdefault(number, []).append(member)
                break
    for number, members in sorted(found.items()):
        one, many, _, remedy = _LEFTOVERS[number]
        message = f"is {one}" if len(members) == 1 else f"has {len(members)} {many}: {some(members)}"
        yield Problem(member=shared_place(members), message=message, remedy=remedy)


def shared_place(members: Sequence[str]) -> str | None:
    """Return the only member, or the folder of all (with `/`); None for the wheel itself."""
    if len(members) == 1:
        return members[0]
    folder = os.path.commonpath([member.lstrip("/").rpartition("/")[0] for member in members])
    return f"{folder}/" if folder else None


def _installed(wheel: Wheel) -> Iterator[tuple[str, str]]:
    """Yield members in site-packages, except *.dist-info, with their paths there."""
    for member in wheel.members:
        top, _, rest = member.partition("/")
        if top.endswith(".dist-info") and rest:
            continue
        if top.endswith(".data") and rest:
            scheme, _, path = rest.partition("/")
            if scheme in {"purelib", "platlib"} and path:
                yield member, path
        else:
            yield member, member


def _path_files(wheel: Wheel) -> Iterator[tuple[str, list[str]]]:
    for member, name in _read_at_start(wheel):
        if name.endswith(".pth"):
            yield member, (wheel.read(member) or b"").decode("utf-8", "replace").splitlines()


def _read_at_start(wheel: Wheel) -> Iterator[tuple[str, str]]:
    """Yield the members that Python's `site` reads at start, with their file names."""
    installed = [(member, path) for member, path in _installed(wheel) if "/" not in path]
    data = [(member, member.rpartition("/")[2]) for member in wheel.members if _SITE_IN_DATA.match(member)]
    yield from ((member, name) for member, name in (*installed, *data) if name.endswith(".pth") or name in _CUSTOMIZING)


def schemes_are_known(wheel: Wheel) -> Iterator[Problem]:
    """Every file in *.data is in a folder with the name of an installation scheme."""
    for member in wheel.members:
        top, _, rest = member.partition("/")
        scheme, slash, _ = rest.partition("/")
        if top.endswith(".data") and rest and not (slash and scheme in _SCHEMES):
            yield Problem(
                member=member,
                message=f"is in no scheme that installers know, as {some(sorted(_SCHEMES))}",
                remedy="Put it into the package, or under `data` if it belongs beside the interpreter.",
            )


CHECKS: Final = (
    Check(code="MW250", title="machine code is there", run=platform_wheel_has_elf_files, of_linux=True,
          reason="A build that fell back to pure Python gives a slow wheel, or one that cannot be imported."),
    Check(code="MW251", title="no machine code", run=pure_wheel_has_no_elf_files,
          reason="On other platforms, code that needs the file fails at run time."),
    Check(code="MW252", title="top level", run=top_level_is_own, severity=Severity.WARNING,
          reason="Projects overwrite each other's files there, and `import tests` finds the wrong ones."),
    Check(code="MW253", title="no code at start", run=no_code_at_start, severity=Severity.WARNING,
          reason="Such a file slows every start of Python and can change any program; malware uses it."),
    Check(code="MW255", title="known schemes", run=schemes_are_known,
          reason="pip refuses to install such a wheel; other installers leave the file out."),
    Check(code="MW256", title=".pth files stay inside", run=path_files_stay_inside,
          reason="If the folder exists on a user's machine, any module in it is imported."),
    Check(code="MW254", title="leftovers", run=nothing_left_over, severity=Severity.WARNING,
          reason="Leftovers make every installation larger and reveal details of the build machine."),
)  # fmt: skip
