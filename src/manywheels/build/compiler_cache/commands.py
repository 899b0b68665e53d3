"""What of a compiler's command line can be shared: which source, which object, which options decide what.

`data/compiler_options.toml` lists the options that are understood. With any other, the compilation is the target's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from manywheels.build.compilers.compiler import Compiler
from manywheels.data import table

_C: Final = frozenset({".c"})
_CXX: Final = frozenset({".cc", ".cpp", ".cxx", ".c++", ".C", ".CPP", ".cp"})
_ASSEMBLER: Final = frozenset({".S", ".sx"})
_STRICT: Final = ("-Werror", "-pedantic-errors")  # which make an error of any other warning that is asked for
_DEPENDENCIES: Final = ("-MD", "-MMD")
_LTO: Final = re.compile(r"-flto(=.+)?")
_PREFIX_MAP: Final = re.compile(r"-f(?:file|macro|debug)-prefix-map=([^=]+)=(.*)")
# In names of folders: what is random, and the target's Python.
_RANDOM: Final = re.compile(r"^\./tmp/[^/]+|(?<=/)\.mesonpy-[a-z0-9_]{8}(?![^/])")
_PYTHON: Final = re.compile(
    r"(?<=[/-])(?:cpython-3\d{1,2}t?|pypy3\d+|cp3\d+-(?:cp3\d+t?|abi3)|pp3\d+-pypy3\d+_pp\d+)(?=[-/]|$)"
    r"|(?<=/_skbuild/linux-)\w+-3\.\d+(?![^/])"
)
# Without `^` where that can be: with it, each line is tried, which takes several times as long.
_LINE: Final = re.compile(rb'\n# (\d+) "([^"\\\n]*(?:\\.[^"\\\n]*)*)"')
_PERHAPS_DIRECTIVE: Final = re.compile(rb"#(?![ \t]*(?:\d+|pragma|ident|line)\b)")
_DIRECTIVE: Final = re.compile(rb"^[ \t]*#(?![ \t]*(?:\d+|pragma|ident|line)\b)", re.MULTILINE)
# Text by which a compiler would read another file.
_READS_FILES: Final = (b"incbin", b"pch_preprocess", b"#embed")


@dataclass(frozen=True, kw_only=True)
class Compilation:
    """One translation unit: `preprocessing` are the arguments by which the compiler prints its text.

    `code` are the options that decide what is made of the text, `warnings` those that only decide what is said of it.
    `suffix` is that of the source, and tells its language. `maps` are replacements of paths' beginnings.
    """

    compiler: Compiler
    output: str
    suffix: str
    preprocessing: tuple[str, ...]
    code: tuple[str, ...]
    warnings: tuple[str, ...]
    maps: tuple[tuple[str, str], ...]

    @property
    def source(self) -> str:
        return self.preprocessing[-1]

    @property
    def has_debug_information(self) -> bool:
        levels = [option for option in self.code if option.startswith("-g")]
        return bool(levels) and levels[-1] != "-g0"

    @property
    def is_for_lto(self) -> bool:
        """Whether the linker compiles the object (link time optimisation)."""
        options = [option for option in self.code if option == "-fno-lto" or _LTO.fullmatch(option)]
        return bool(options) and options[-1] != "-fno-lto"

    def mapped(self, path: str) -> str:
        """Return a path as it is named in the object."""
        for old, new in self.maps:
            if path.startswith(old):
                return _without_names_of_builds(new + path[len(old) :])
        return path


def _without_names_of_builds(path: str) -> str:
    """Return a mapped path with the same names for the folders that back ends build in, whichever target it is.

    Temporary ones are random: in TMPDIR (scikit-build-core), or beside the source (meson-python). Others have the
    target's Python in their names: `build/temp.linux-x86_64-cpython-312` (setuptools), `build/cp312-cp312-linux_x86_64`
    (scikit-build-core), `_skbuild/linux-x86_64-3.12` (scikit-build).
    """
    path = _RANDOM.sub(lambda found: "./tmp" if found[0].startswith("./tmp") else ".mesonpy", path)
    return _PYTHON.sub("python", path)


def read_command(compiler: Compiler, arguments: Sequence[str]) -> Compilation | None:
    """Return None for anything but one translation unit with known options."""
    words, sources, output = _Words(), [], ""
    for option, value in _joined(arguments):
        if option == "-c":
            words.compiles = True
        elif option == "-o":
            output = value
        elif option == "-x":
            words.language = value
        elif not option.startswith("-"):
            sources.append(option)
        elif not words.add(option, value):
            return None
    if not words.compiles or len(sources) != 1:
        return None
    source = sources[0]
    stem, suffix = _stem_and_suffix(source)
    suffix = _suffix_for(compiler, words.language, suffix)
    output = output or f"{stem}.o"
    if not suffix or not output.endswith((".o", ".obj", ".lo")) or "\0" in output:
        return None
    errors = [option for option in words.warnings if _pattern("errors").fullmatch(option)]
    is_strict = any(option in _STRICT for option in errors)
    language = ("-x", words.language) if words.language else ()
    return Compilation(
        compiler=compiler, output=output, suffix=suffix,
        preprocessing=("-E", *words.preprocessing, *words.dependencies(output), *language, source),
        code=_last_of_each((*words.code, *(words.warnings if is_strict else errors))),
        warnings=() if is_strict else tuple(words.warnings),
        maps=tuple(sorted(words.maps, key=lambda entry: len(entry[0]), reverse=True)),
    )  # fmt: skip


class _Words:
    """The options of one command, sorted by what they are for."""

    def __init__(self) -> None:
        self.preprocessing: list[str] = []
        self.code: list[str] = []
        self.warnings: list[str] = []
        self.maps: list[tuple[str, str]] = []
        self.language = ""
        self.compiles = False

    def add(self, option: str, value: str) -> bool:
        """Return whether the option is known."""
        kind = _kind(option + value)
        if found := _PREFIX_MAP.fullmatch(option):
            self.maps.append((found[1], found[2]))
        elif kind == "code":
            self.code.append(f"{option}={value}" if option == "--param" and value else option)
        elif kind == "warnings":
            self.warnings.append(option)
        elif not kind:
            return False
        self.preprocessing += [option, value] if value else [option]
        return True

    def dependencies(self, output: str) -> list[str]:
        """Return what tells the preprocessor where to list the dependencies: where the compiler would."""
        if not any(option in self.preprocessing for option in _DEPENDENCIES):
            return []
        given = {option[:3] for option in self.preprocessing}
        target = [] if given & {"-MT", "-MQ"} else ["-MQ", output]
        return target if "-MF" in given else [*target, "-MF", f"{_stem_and_suffix(output, keep_folder=True)[0]}.d"]


def _joined(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each option with its value, if that is the next word."""
    words = iter(arguments)
    for word in words:
        yield word, next(words, "") if word in _valued() else ""


def _stem_and_suffix(path: str, *, keep_folder: bool = False) -> tuple[str, str]:
    folder, slash, name = path.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    return (folder + slash if keep_folder else "") + (stem or name), dot + suffix if stem else ""


def _suffix_for(compiler: Compiler, language: str, suffix: str) -> str:
    """Return the suffix that stands for a source's language; empty for languages that are not shared."""
    if language:
        return {"c": ".c", "c++": ".cpp", "assembler-with-cpp": ".S"}.get(language, "")
    if suffix in _ASSEMBLER:
        return ".S"
    if suffix in _CXX or (suffix in _C and compiler.is_cxx):
        return ".cpp"
    return ".c" if suffix in _C else ""


def _last_of_each(options: Sequence[str]) -> tuple[str, ...]:
    """Return the options without those that a later one repeats, or takes the place of.

    Interpreters repeat theirs, and some end with `-O3` what began with `-O2`.
    """
    kept: dict[str, str] = {}
    for option in options:
        place = "-O" if option.startswith("-O") else option
        kept.pop(place, None)
        kept[place] = option
    if [option for option in kept if option.startswith("-g")][-1:] == ["-g0"]:
        kept = {place: option for place, option in kept.items() if not option.startswith("-g") or option == "-g0"}
    return tuple(kept.values())


# --- the text -------------------------------------------------------------------------------------------------------


def is_self_contained(text: bytes) -> bool:
    """Whether a preprocessed text alone decides what is compiled."""
    if any(word in text for word in _READS_FILES):
        return False
    return not (_PERHAPS_DIRECTIVE.search(text) and _DIRECTIVE.search(text))


def without_places(text: bytes, compilation: Compilation) -> bytes:
    """Return a preprocessed text with the names of files as the object has them, the same for all targets."""
    known: dict[bytes, bytes] = {}

    def renamed(found: re.Match[bytes]) -> bytes:
        name = found[2]
        if name not in known:
            known[name] = compilation.mapped(name.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        return b'\n# %b "%b"' % (found[1], known[name])

    return _LINE.sub(renamed, b"\n" + text)[1:]


# --- the table ------------------------------------------------------------------------------------------------------


@cache
def _kind(option: str) -> str:
    for name in ("preprocessor", "warnings", "code"):
        if _pattern(name).fullmatch(option):
            return name
    return ""


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile("|".join(table("compiler_options")[name]))


@cache
def _valued() -> frozenset[str]:
    return frozenset(table("compiler_options")["valued"])
