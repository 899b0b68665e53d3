"""Link with words for the linker that zig's driver refuses: its embedded lld takes nearly all that GNU ld takes.

The compiler wrapper starts this with zig's path and arguments. zig links a stub in the same mode and prints how it
calls lld; here lld is called like that again, with the real objects, libraries and words in the stub's place, in their
order.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

# Options whose value is the next argument.
_VALUED = re.compile(
    "-(?:target|x|M[FTQ]|iquote|idirafter|isystem|include|imacros|[IDU]|X(?:clang|preprocessor|assembler)|mllvm)"
)
_MODE = re.compile(
    r"-(?:shared|(?:no-|static-)?pie|static|nostdlib(?:\+\+)?|nolibc|nodefaultlibs|nostartfiles|dynamic|rdynamic|[rs]|pthread)"
)
# Libraries that zig makes itself. It links those of glibc in any case, by their paths.
_OWN_LIBRARY = re.compile(
    r"c|m|pthread|dl|rt|util|resolv|gcc(?:_s|_eh)?|atomic|ssp|c_nonshared|compiler_rt|unwind|(?:std|sup)?c\+\+(?:abi)?"
)
_GLIBC_BY_PATH = re.compile(r"/(?:usr/)?lib\S*/lib(?:c|m|dl|rt|util|pthread|resolv)(?:-[\d.]+)?\.(?:so|a)(?:\.\d+)*")
_SOURCE = re.compile(r".*\.(?:c|cc|cpp|cxx|c\+\+|C|CPP|cp|i|ii|s|S)")
_CXX_ALLOCATION = '"operator new*"; "operator delete*"'
_CXX_TYPEINFO = '"typeinfo for *"; "typeinfo name for *"'
_CACHES = ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")
_STUB = "int main(void) { return 0; }\n"


@dataclass
class Command:
    """A command line of gcc's, taken apart: `items` is what the linker gets, in the order given."""

    output: str = "a.out"
    items: list[str] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)
    own_libraries: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    sources: dict[int, tuple[str, str]] = field(default_factory=dict)  # place in `items`: file, language

    def library(self, name: str) -> None:
        if _OWN_LIBRARY.fullmatch(name):
            self.own_libraries.append(f"-l{name}")
        else:
            self.items.append(f"-l{name}")

    def words(self, words: list[str]) -> None:
        rest = iter(words)
        for word in rest:
            if word == "-l":
                self.library(next(rest, ""))
            elif word.startswith("-l"):
                self.library(word[2:])
            elif word in ("-r", "--relocatable"):
                self.modes.append("-r")
            elif not _GLIBC_BY_PATH.fullmatch(word):
                self.items.append(word)


def parsed(arguments: list[str]) -> Command:
    command, language = Command(), ""
    rest = iter(arguments)
    for argument in rest:
        if argument == "-o":
            command.output = next(rest, command.output)
        elif argument == "-x":
            language = next(rest, "").replace("none", "")
        elif argument.startswith("-x") and argument[2:]:
            language = argument[2:].replace("none", "")
        elif argument.startswith("-Wl,"):
            command.words(argument[4:].split(","))
        elif argument in ("-l", "-L", "-u", "-e", "-T"):
            command.words([argument + next(rest, "")] if argument == "-l" else [argument, next(rest, "")])
        elif argument.startswith(("-l", "-L", "-T")):
            command.words([argument])
        elif _MODE.fullmatch(argument):
            command.modes.append(argument)
        elif _VALUED.fullmatch(argument):
            command.options += [argument, next(rest, "")]
        elif argument != "-" and argument.startswith("-"):
            command.options.append(argument)
        elif argument == "-" or language or _SOURCE.fullmatch(argument):
            command.sources[len(command.items)] = (argument, language)
            command.items.append("")
        else:
            command.words([argument])
    return command


def translated(items: list[str], *, shared: bool, folder: Path) -> list[str]:
    """Put words that lld lacks into words that it has."""
    listed = {"--dynamic-list-cpp-new": _CXX_ALLOCATION, "--dynamic-list-cpp-typeinfo": _CXX_TYPEINFO}
    result = []
    for item in items:
        if item in listed:
            script = folder / f"{item.lstrip('-')}.txt"
            script.write_text(f'{{ extern "C++" {{ {listed[item]}; }}; }};\n')
            result.append(f"--dynamic-list={script}")
        elif item == "--dynamic-list-data" and shared:
            result.append("-Bsymbolic-functions")
        else:
            result.append(item)
    return result


def run(*argv: str) -> None:
    done = subprocess.run(argv, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def compiled(zig: list[str], command: Command, folder: Path) -> None:
    """Compile the sources, and put the objects into their places."""
    for place, (source, language) in command.sources.items():
        result = str(folder / f"{place}.o")
        run(*zig, *command.options, *(("-x", language) if language else ()), "-c", source, "-o", result)
        command.items[place] = result


def line_of_stub(zig: list[str], command: Command, folder: Path) -> tuple[list[str], list[str]]:
    """Return what zig gives lld before and after the objects."""
    source, stub, result = (str(folder / name) for name in ("stub.c", "stub.o", "stub"))
    Path(source).write_text(_STUB)
    # The wrapper's own flags, which end with -UNDEBUG: zig builds its runtime anew for each other set of flags.
    flags = [*command.options[: command.options.index("-UNDEBUG")], "-O2"]
    run(*zig, *flags, "-fPIC", "-c", source, "-o", stub)
    argv = [*zig, *flags, *command.modes, stub, *command.own_libraries, "-v", "-o", result]
    done = subprocess.run(argv, stderr=subprocess.PIPE, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if re.match(r"ld\.lld .* -o ", line) and stub in line]
    if done.returncode or not lines:
        sys.stderr.write(done.stderr)
        sys.exit(done.returncode or 1)
    words = split(lines[-1], [str(folder), *filter(None, map(os.environ.get, _CACHES))])
    words[words.index(result)] = command.output
    place = words.index(stub)
    return words[1:place], words[place + 1 :]


def split(line: str, folders: list[str]) -> list[str]:
    """Split zig's line, which quotes nothing; the blanks in these folders' names separate no words."""
    for folder in folders:
        line = line.replace(folder, folder.replace(" ", "\0"))
    return [word.replace("\0", " ") for word in line.split()]


def main() -> int:
    zig, command = sys.argv[1:3], parsed(sys.argv[3:])
    with tempfile.TemporaryDirectory(prefix="manywheels-link-") as name:
        folder = Path(name)
        compiled(zig, command, folder)
        before, after = line_of_stub(zig, command, folder)
        items = translated(command.items, shared="-shared" in command.modes, folder=folder)
        # As zig does, without a word about it: a library that nothing needs is not named as needed.
        argv = [zig[0], "ld.lld", *before, "--as-needed", *items, "--no-whole-archive", *after]
        if "-v" in command.options:
            sys.stderr.write(" ".join(argv[1:]) + "\n")
        done = subprocess.run(argv, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    sys.stderr.write(done.stderr)
    for word in re.findall(r"unknown argument '([^']*)'", done.stderr):
        sys.stderr.write(
            f"manywheels: error: {word}: the embedded linker (lld, in zig) has no such option: "
            "use --engine container, which has gcc and GNU ld\n"
        )
    return done.returncode


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
