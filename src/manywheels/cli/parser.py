"""The command line's words: each command's options in groups, and errors that name the nearest right word."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from manywheels import __version__
from manywheels.cli.commands import TITLES
from manywheels.cli.request import FORMATS, KINDS, MATRICES, SHELLS
from manywheels.core.text import did_you_mean
from manywheels.data import table
from manywheels.errors import EXIT_CONFIGURATION
from manywheels.plan import inputs
from manywheels.plan.options import ENGINES, TOOLCHAINS

# Options of cibuildwheel's command line that have nothing to do here.
_OF_CIBUILDWHEEL: Final = {
    "--debug-traceback": "without effect: errors say what is known, and a fault in manywheels writes its own file",
    "--clean-cache": "say where the cache is, and end",
}
_CIBUILDWHEELS: Final = "of cibuildwheel's command line"
# What people type by habit, and what it is called here.
_HABITS: Final = {"help": "--help", "version": "--version", "list": "plan", "-j": "--jobs", "--out": "--output-dir"}
_WHERE_FROM: Final = "it comes from the variable MANYWHEELS_PASSWORD: every user of a machine can read arguments"
_SHORT: Final = {"output-dir": "-o", "verbose": "-v"}
_COMMAND: Final = "COMMAND"
_ARGUMENTS: Final[dict[object, str]] = {None: "{0}", "?": "[{0}]", "*": "[{0} …]", "+": "{0} …"}  # in the usage


class Parser(argparse.ArgumentParser):
    """Takes no abbreviations: what a word stands for must not change with the next release."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - argparse's
        super().__init__(**{**settings, "allow_abbrev": False})
        self.commands: dict[str, Parser] = {}
        self._groups: dict[str, argparse._ArgumentGroup] = {}

    def error(self, message: str) -> NoReturn:
        said = self._said(message)
        self.exit(EXIT_CONFIGURATION, f"error MW001: {said}\n  `{self.prog} --help` lists what is allowed.\n")

    def parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """Return the parsed words. Raises SystemExit for unknown ones, and for none, after the help."""
        if not (sys.argv[1:] if argv is None else argv):
            self.print_help()
            self.exit(EXIT_CONFIGURATION)
        arguments, unknown = self.parse_known_args(argv)
        if unknown:
            command = self.commands[arguments.command]
            command.error(command.described(unknown[0]))
        return arguments

    def described(self, word: str) -> str:
        """Return what is wrong with a word that the command does not take."""
        name = word.partition("=")[0]
        if not name.startswith("-"):
            return f"`{word}` is one argument too many"
        if name == "--password":
            return f"a password is no option; {_WHERE_FROM}"
        return f"there is no option `{name}`{_meant(name, self._option_string_actions)}"

    def group_for(self, option: str) -> argparse._ArgumentGroup:
        """Return the group of the help that an option is in, made in the order of `data/inputs.toml`."""
        for group in table("inputs")["group"]:
            title: str = group["title"]
            if option in (*group["options"], *group.get("more", ())):
                if title not in self._groups:
                    self._groups[title] = self.add_argument_group(title)
                return self._groups[title]
        raise KeyError(option)

    def finish(self) -> None:
        """Show the groups in the table's order, whichever option was added first, and a usage of one line."""
        words = [
            _ARGUMENTS[action.nargs].format(action.metavar) for action in self._actions if not action.option_strings
        ]
        self.usage = " ".join(("%(prog)s [OPTIONS]", *words))
        order = [group["title"] for group in table("inputs")["group"]]
        places = {title: place for place, title in enumerate([*order, _CIBUILDWHEELS])}
        self._action_groups.sort(key=lambda group: places.get(group.title or "", -1))

    def _said(self, message: str) -> str:
        if found := re.match(rf"argument {_COMMAND}: invalid choice: '(.*)' \(choose", message):
            return f"there is no command `{found[1]}`{_meant(found[1], self.commands)}"
        if found := re.match(r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)", message):
            allowed = re.findall(r"'([^']*)'", found[3])
            return f"`{found[1]}` cannot be `{found[2]}`{_meant(found[2], allowed)}: {', '.join(allowed)} are allowed"
        if found := re.match(r"argument (\S+): ignored explicit argument", message):
            return f"`{found[1].rpartition('/')[2]}` takes no value: it is given or left out"
        return message


def _meant(word: str, known: Iterable[str]) -> str:
    return f" (here, it is `{_HABITS[word]}`)" if word in _HABITS else did_you_mean(word, known)


def make_parser() -> Parser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="manywheels",
        description="Build, repair and prove a project's Linux wheels for every CPython, side by side.",
    )
    parser.add_argument("-V", "--version", action="version", version=f"manywheels {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar=_COMMAND, parser_class=Parser)
    for name, title in TITLES.items():
        command = commands.add_parser(name, help=title, description=title[0].upper() + title[1:] + ".")
        parser.commands[name] = command
        _ADD.get(name, lambda _: None)(command)
        command.finish()
    return parser


def _add_build(command: Parser) -> None:
    _add_package(command)
    _add_inputs(command, "build")
    _add_place(command)
    same = "the same as `manywheels plan`"
    command.group_for("dry-run").add_argument(
        "--dry-run", action="store_const", dest="command", const="plan", default=argparse.SUPPRESS, help=same
    )
    junit = "write the run as JUnit XML: each target a suite, each stage, warning and failed test a case"
    command.group_for("junit").add_argument("--junit", type=Path, metavar="PATH", help=junit)
    told = "print the manifest as JSON, and nothing else, when the run has ended; with --dry-run, the plan"
    command.group_for("json").add_argument("--json", action="store_true", help=told)
    command.group_for("json").add_argument(
        "-q", "--quiet", action="store_true", help="print failures and the total only"
    )
    # cibuildwheel's.
    identifiers = "print the identifiers of the targets that would be built, as cibuildwheel does"
    group = command.add_argument_group(_CIBUILDWHEELS)
    group.add_argument("--print-build-identifiers", action="store_true", help=identifiers)
    for name, kept in _OF_CIBUILDWHEEL.items():
        group.add_argument(name, action="store_true", help=kept)
    # For this program alone, which starts itself in containers.
    command.add_argument("--part", default="", help=argparse.SUPPRESS)
    command.add_argument("--no-sdist", dest="without_sdist", action="store_true", help=argparse.SUPPRESS)
    command.add_argument("--jobserver", type=Path, help=argparse.SUPPRESS)
    command.add_argument("--traced", action="store_true", help=argparse.SUPPRESS)
    command.add_argument("--leave-out", action="append", default=[], help=argparse.SUPPRESS)


def _add_plan(command: Parser) -> None:
    _add_package(command)
    _add_inputs(command, "plan")
    _add_place(command)
    command.group_for("json").add_argument("--json", action="store_true", help="print the plan as JSON")
    origins = "show every option's value as well, and where it comes from"
    command.group_for("explain").add_argument("--explain", action="store_true", help=origins)
    jobs = "print the jobs that build the plan, as a CI's own matrix"
    command.group_for("matrix").add_argument("--matrix", choices=MATRICES, default="", help=jobs)
    targets = "with --matrix: targets in each job (default: 1)"
    command.group_for("per-job").add_argument("--per-job", type=_count, default=1, metavar="N", help=targets)


def _add_package(command: Parser) -> None:
    command.add_argument(
        "package_dir", nargs="?", metavar="PACKAGE_DIR", help="the project: a folder (default: this one) or an sdist"
    )


def _add_place(command: Parser) -> None:
    toolchain = "compilers: the embedded zig or the machine's own; auto is `system` in manylinux images, else `zig`"
    engine = (
        "where to build: on this machine, or in a container of the policy's manylinux image; auto is this machine, but "
        "a container for `--image`, another architecture or, inside a manylinux image, another policy"
    )
    command.group_for("toolchain").add_argument("--toolchain", choices=TOOLCHAINS, default="auto", help=toolchain)
    command.group_for("engine").add_argument("--engine", choices=ENGINES, default="auto", help=engine)


def _add_verify(command: Parser) -> None:
    files = "wheels and sdists, or folders of them (default: dist)"
    command.add_argument("wheels", nargs="*", type=Path, metavar="FILE", help=files)
    _add_inputs(command, "verify")
    command.add_argument("--format", choices=FORMATS, default="text", help="how to say what was found")
    command.add_argument("--strict", action="store_true", help="let warnings count as errors")
    here = "install each wheel into a clean environment of its interpreter and import all of it; this runs its code"
    there = "the same in a container of another distribution; may be given several times"
    command.add_argument("--import", dest="imports", action="store_true", help=here)
    command.add_argument("--import-in", metavar="IMAGE", action="append", default=[], help=there)
    beside = "check the attestations that lie beside the wheels (PEP 740), without asking anybody"
    expected = "who should have signed them, as `github:octo/spam:release.yml` or `gitlab:group/spam:.gitlab-ci.yml`"
    command.add_argument("--attestations", dest="attested", action="store_true", help=beside)
    command.add_argument("--publisher", metavar="PUBLISHER", default="", help=expected)


def _add_gather(command: Parser) -> None:
    folders = "output folders of `build`, each with its manifest; an sdist may lie there or by itself"
    command.add_argument("folders", nargs="+", type=Path, metavar="DIR", help=folders)
    _add_inputs(command, "gather")


def _add_publish(command: Parser) -> None:
    command.add_argument(
        "package_dir", nargs="?", metavar="DIR", help="the folder with the wheels and their manifest (default: dist)"
    )
    _add_inputs(command, "publish")
    command.epilog = f"A password or an API token is no option; {_WHERE_FROM}."


def _add_clean(command: Parser) -> None:
    what = "what to remove (default: all of them)"
    command.add_argument("kinds", nargs="*", type=_kind, metavar="|".join(KINDS), help=what)
    _add_inputs(command, "clean")
    listed = "only list what would be removed, with sizes"
    command.add_argument("--dry-run", action="store_true", help=listed)


def _add_explain(command: Parser) -> None:
    command.add_argument("codes", nargs="*", metavar="CODE", help="as MW208; without one, all are listed")


def _add_completion(command: Parser) -> None:
    used = 'for bash: eval "$(manywheels completion bash)"'
    command.add_argument("shell", choices=SHELLS, metavar="|".join(SHELLS), help=used)


_ADD: Final = {
    "build": _add_build,
    "plan": _add_plan,
    "verify": _add_verify,
    "gather": _add_gather,
    "publish": _add_publish,
    "clean": _add_clean,
    "explain": _add_explain,
    "completion": _add_completion,
}


def _add_inputs(command: Parser, name: str) -> None:
    for entry in inputs.inputs_of(name):
        group = command.group_for(entry.name)
        words = [*([_SHORT[entry.name]] if entry.name in _SHORT else []), f"--{entry.name}"]
        text = entry.description.replace("%", "%%")
        if entry.name in inputs.flags():
            group.add_argument(*words, action="store_const", const="true", help=f"{text} (takes no value)")
            continue
        text += f" (default: {entry.default})" if entry.default else ""
        if entry.name in {"enable", "foreign"}:  # as in cibuildwheel, they may be given several times
            group.add_argument(*words, action="append", metavar=entry.name.upper(), help=text)
        else:
            group.add_argument(*words, metavar=entry.name.upper().replace("-", "_"), help=text)
        if entry.name == "compiler-cache":
            off = "the same as --compiler-cache off"
            group.add_argument(
                "--no-compiler-cache", action="store_const", dest="compiler_cache", const="off", help=off
            )  # fmt: skip


def _kind(text: str) -> str:
    if text not in KINDS:
        allowed = ", ".join(KINDS)
        raise argparse.ArgumentTypeError(f"`{text}`{did_you_mean(text, KINDS)} is none of {allowed}")
    return text


def _count(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,3}", text):
        raise argparse.ArgumentTypeError(f"`{text}` is not a whole number from 1 to 9999")
    return int(text)
