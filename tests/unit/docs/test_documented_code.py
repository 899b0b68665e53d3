"""Every block of code in the documentation is true: the program's own readers take it, and the schemas of its files."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import comrak
import pytest
import yaml
from packaging.requirements import Requirement

from conftest import ROOT
from containers.test_workflow_files import check_jsonschema
from documents import PAGES, SHELLS, Block, Command, blocks_of, commands_of, inline_code_of, is_pattern, page_name
from manywheels import __version__
from manywheels.cli import github
from manywheels.cli.commands import TITLES
from manywheels.cli.explain import explanations
from manywheels.cli.main import request_of
from manywheels.cli.parser import make_parser
from manywheels.cli.request import Request
from manywheels.errors import ManywheelsError
from manywheels.plan.configured_project import read_configured_project
from manywheels.plan.delivery_options import resolve_delivery, resolve_publishing
from manywheels.plan.inputs import declared_inputs
from manywheels.plan.interpreters import Interpreter
from manywheels.plan.options import resolve
from manywheels.plan.project import Project
from manywheels.plan.settings import Settings, read_settings
from manywheels.plan.targets import Target, select_where
from manywheels.verify.rules import verification_rules
from unit.cli.test_gitlab_templates import template
from unit.helpers import project

TEXTS = {page_name(page): page.read_text("utf-8") for page in PAGES}
BLOCKS = [block for page, text in TEXTS.items() for block in blocks_of(text, page)]
INLINE = [command for page, text in TEXTS.items() for command in inline_code_of(text, page)]
# The least that there is of each kind; fewer means that something is no longer seen.
LEAST = {"console": 18, "sh": 2, "toml": 10, "yaml": 15, "json": 1, "text": 3}
# Tables of other programs than manywheels that pyproject.toml may have.
TABLES = {"build-system", "project", "dependency-groups", "tool"}
TOOLS = {"manywheels", "cibuildwheel"}
# What begins like a command of this repository, and is none.
NO_COMMANDS = {
    ("docs/docker-guide.md", "make all"),
    ("docs/gitlab.md", "manywheels cannot be fetched from …: HTTP Error 404"),
}
THEIR_COMPONENT = "$CI_SERVER_FQDN/manywheels/manywheels/wheels"
THEIR_WORKFLOW = "manywheels/manywheels/.github/workflows/wheels.yml"
_USED = re.compile(r"manywheels/manywheels(/[\w./-]*)?@(\S+)")
_COMPONENT = re.compile(r"\$CI_SERVER_FQDN/manywheels/manywheels/([\w-]+)@(\S+)")


class Untrue(Exception):
    """What a page says is not so."""


# --- shells -----------------------------------------------------------------------------------------------------------


def check_shell(block: Block, _folder: Path) -> None:
    commands = commands_of(block)
    if not commands:
        raise Untrue(f"{block.place}: a shell's block without a command")
    for command in commands:
        check_command(command)


def check_command(command: Command) -> None:
    for part in command.parts:
        arguments = part.of_manywheels
        if arguments is not None:
            with told(command.place):
                check_arguments(arguments, part.variables)
        elif part.words[0] == "make":
            check_make(command.place, part.words[1:])


def check_arguments(arguments: list[str], variables: Mapping[str, str]) -> None:
    """Raise what refuses a command line of manywheels: words, values, or variables."""
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(io.StringIO()):
            parsed = make_parser().parse(arguments)
    except SystemExit as ended:
        if ended.code:
            raise Untrue(stderr.getvalue()) from None
        return  # --help, --version
    check_request(request_of(parsed), project(), variables)


def check_request(request: Request, of: Project, variables: Mapping[str, str]) -> None:
    """Raise what refuses the values of a command, read as the command reads them, on any machine."""
    settings: Settings = read_settings(request.given, of.settings, variables)
    notes = list(settings.notes)
    if request.command in {"build", "plan"}:
        options = resolve(request.given, of, toolchain=request.toolchain, environment=variables)
        select_where(options.selection, options.known_targets, python_of, of.requires_python)
        notes += options.notes
    if request.command != "explain":
        resolve_delivery(settings)
        resolve_publishing(settings)
    verification_rules(of.settings)
    if unknown := [code for code in request.codes if code.upper() not in explanations()]:
        raise Untrue(f"there is no {unknown[0]}")
    if notes:
        raise Untrue(notes[0])


def python_of(target: Target) -> Interpreter:
    return Interpreter(abi=target.abi, version=target.python, path=Path("/opt/python", target.folder), source="/opt")


def check_make(place: str, words: tuple[str, ...]) -> None:
    rules = re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for word in words:
        if not re.match(r"-|\w+=", word) and word not in rules:
            raise Untrue(f"{place}: the Makefile has no `{word}`, only {', '.join(rules)}")


@contextlib.contextmanager
def told(place: str) -> Iterator[None]:
    """Say of what is wrong where it is."""
    try:
        yield
    except ManywheelsError as error:
        raise Untrue(f"{place}: {error.message} {error.remedy}") from error
    except Untrue as error:
        raise Untrue(f"{place}: {error}") from None
    except ValueError as error:  # of tomllib, json, packaging
        raise Untrue(f"{place}: {error}") from error


# --- code within text -------------------------------------------------------------------------------------------------


def check_inline(command: Command) -> None:
    """A command's name alone is true if there is one; of a pattern, the options must be there."""
    if (command.place.partition(":")[0], command.text) in NO_COMMANDS:
        return
    if command.text.startswith("make "):
        check_make(command.place, command.parts[0].words[1:])
    if not (found := re.match(r"(?:\S*/)?manywheels ([a-z][\w-]*)(?: |$)", command.text)):
        return
    name, options = found[1], re.findall(r" (--[a-z][\w-]*)", command.text)
    if name not in TITLES:
        raise Untrue(f"{command.place}: there is no command `{name}`")
    if not is_pattern(command.text) and command.text[found.end() :]:
        check_command(command)
    elif unknown := set(options) - make_parser().commands[name]._option_string_actions.keys():
        raise Untrue(f"{command.place}: `{name}` has no option {', '.join(sorted(unknown))}")


# --- TOML, JSON, Python -----------------------------------------------------------------------------------------------


def check_toml(block: Block, folder: Path) -> None:
    with told(block.place):
        tables = tomllib.loads(block.text)
        if unknown := tables.keys() - TABLES | tables.get("tool", {}).keys() - TOOLS:
            raise Untrue(f"{', '.join(unknown)}: pyproject.toml has no such table, or it is not among those known here")
        for requirement in tables.get("build-system", {}).get("requires", ()):
            Requirement(requirement)
        named = "" if "project" in tables else '\n[project]\nname = "demo"\nversion = "1.0"\n'
        (folder / "pyproject.toml").write_text(block.text + named, encoding="utf-8")
        check_request(Request(command="build"), read_configured_project(folder, {}, {}), {})


def check_json(block: Block, _folder: Path) -> None:
    with told(block.place):
        json.loads(block.text)


def check_python(block: Block, _folder: Path) -> None:
    try:
        ast.parse(block.text)
    except SyntaxError as error:
        raise Untrue(f"{block.place}: {error}") from error


# --- YAML -------------------------------------------------------------------------------------------------------------


REFERENCE = {"!reference": "another job's"}


class Loader(yaml.SafeLoader):
    """Keeps what GitHub and GitLab read otherwise than YAML 1.1: `on`, and `!reference`."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if first not in "oO" or not tag.endswith(":bool")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_constructor("!reference", lambda _loader, _node: REFERENCE)


def check_yaml(block: Block, _folder: Path) -> None:
    loaded = load_yaml(block)
    for mapping in mappings_in(loaded):
        with told(block.place):
            if used := _USED.fullmatch(str(mapping.get("uses", ""))):
                check_use((used[1] or "").strip("/"), mapping.get("with", {}))
                check_outputs(mapping.get("id"), block.text)
            if included := _COMPONENT.fullmatch(str(mapping.get("component", ""))):
                check_component(included[1], mapping.get("inputs", {}))
        for line in mapping.get("script", ()):
            check_command(Command(place=block.place, text=line))


def load_yaml(block: Block) -> Any:
    try:
        return yaml.load(block.text, Loader)  # a safe one
    except yaml.YAMLError as error:
        raise Untrue(f"{block.place}: {error}") from error


def mappings_in(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from mappings_in(inner)


def check_use(path: str, given: Mapping[str, object]) -> None:
    """Raise what the action, or the reusable workflow, has against the inputs of a step or job."""
    if path:
        workflow = yaml.load((ROOT / path).read_text("utf-8"), Loader) if (ROOT / path).is_file() else {}
        known = set(workflow.get("on", {}).get("workflow_call", {}).get("inputs", {}))
    else:
        known = set(declared_inputs())
    require_inputs(given, known, path or "the action")
    values = {name: as_text(value) for name, value in given.items() if name in declared_inputs()}
    fixed = {f"INPUT_{name.upper()}": value for name, value in values.items() if "${{" not in value}
    check_request(github.read_request(fixed), project(), {})


def check_outputs(step: str | None, text: str) -> None:
    known = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))["outputs"]
    if step and (unknown := set(re.findall(rf"steps\.{step}\.outputs\.([\w-]+)", text)) - known.keys()):
        raise Untrue(f"the action has no output {', '.join(unknown)}")


def check_component(name: str, given: Mapping[str, object]) -> None:
    known = template(name)[0] if (ROOT / f"ci-templates/{name}.yml").is_file() else {}
    require_inputs(given, set(known), f"the component {name}")
    types = {"string": str, "boolean": bool, "number": int, "array": list}
    for one, value in given.items():
        if type(value) is not types[known[one].get("type", "string")]:
            raise Untrue(f"the component's input `{one}` is {known[one].get('type', 'string')}, not `{value}`")
    fixed = {one: as_text(value) for one, value in given.items() if one in declared_inputs()}
    command = "publish" if name == "publish" else "build"
    check_request(
        github.read_request({f"INPUT_{one.upper()}": value for one, value in (fixed | {"command": command}).items()}),
        project(), {},
    )  # fmt: skip


def require_inputs(given: Mapping[str, object], known: set[str], place: str) -> None:
    if not known:
        raise Untrue(f"there is no {place}, or it has no inputs")
    if unknown := given.keys() - known:
        raise Untrue(f"{place} has no input {', '.join(sorted(unknown))}")


def as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- all of them ------------------------------------------------------------------------------------------------------

# What to do with a block, by the language that its fence names. Another name has to be decided upon here.
CHECKS: Mapping[str, Callable[[Block, Path], None]] = {
    **dict.fromkeys(SHELLS, check_shell),
    "toml": check_toml,
    "yaml": check_yaml,
    "json": check_json,
    "python": check_python,
    "text": lambda _block, _folder: None,  # drawings, messages
}


def check(block: Block, folder: Path) -> None:
    if block.language not in CHECKS:
        raise Untrue(f"{block.place}: nothing checks `{block.language}`: the languages are {', '.join(CHECKS)}")
    CHECKS[block.language](block, folder)


def test_all_blocks_are_seen() -> None:
    counted = Counter(block.language for block in BLOCKS)
    assert {language: counted[language] for language in LEAST if counted[language] < LEAST[language]} == {}
    assert sum(len(commands_of(block)) for block in BLOCKS if block.language in SHELLS) > 40
    assert sum(command.text.startswith("manywheels ") for command in INLINE) > 50
    uses = [mapping for block in BLOCKS if block.language == "yaml" for mapping in mappings_in(load_yaml(block))]
    assert sum(bool(_USED.fullmatch(str(mapping.get("uses", "")))) for mapping in uses) > 9
    assert sum("component" in mapping for mapping in uses) > 3


@pytest.mark.parametrize("page", TEXTS)
def test_the_blocks_are_those_that_a_renderer_sees(page: str) -> None:
    html = comrak.render_markdown(TEXTS[page])
    rendered = Counter(re.findall(r'<pre><code class="language-([^"]+)', html))
    assert rendered == Counter(block.language for block in BLOCKS if block.page == page)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_a_block_is_true(block: Block, tmp_path: Path) -> None:
    check(block, tmp_path)


def test_no_exception_is_left_over() -> None:
    assert {(command.place.partition(":")[0], command.text) for command in INLINE} >= NO_COMMANDS


@pytest.mark.parametrize("page", TEXTS)
def test_code_within_text_is_true(page: str) -> None:
    for command in INLINE:
        if command.place.startswith(f"{page}:"):
            check_inline(command)


@pytest.mark.parametrize("page", TEXTS)
def test_a_page_names_this_release(page: str) -> None:
    for version in re.findall(r"manywheels/manywheels(?:/[\w./-]*)?@(v[\d.]*\d)", TEXTS[page]):
        assert f"v{__version__}.".startswith(f"{version}."), version


# --- whole files, by the schemas of those who read them ---------------------------------------------------------------


def as_workflow(loaded: Any) -> dict[str, Any]:
    """Return the workflow that a part of one is from: steps, or the keys of a job."""
    if isinstance(loaded, list):
        loaded = {"runs-on": "ubuntu-latest", "steps": loaded}
    return {"on": "push", **(loaded if "jobs" in loaded else {"jobs": {"job": loaded}})}


def without_references(loaded: Any) -> Any:
    """Leave out what GitLab puts in place before it looks at the whole."""
    if isinstance(loaded, dict):
        items = ((name, without_references(value)) for name, value in loaded.items())
        return {name: value for name, value in items if value != REFERENCE}
    return [without_references(value) for value in loaded] if isinstance(loaded, list) else loaded


def write_configurations(blocks: list[Block], folder: Path) -> dict[str, list[Path]]:
    """Write each block as the file that it is for; return these by the name of their schema."""
    written: dict[str, list[Path]] = {"github-workflows": [], "gitlab-ci": []}
    for block in blocks:
        loaded = load_yaml(block)
        theirs = any("uses" in mapping for mapping in mappings_in(loaded))
        kind = "github-workflows" if theirs else "gitlab-ci"
        path = folder / f"{block.place.replace('/', '-').replace(':', '-')}.json"
        path.write_text(json.dumps(as_workflow(loaded) if theirs else without_references(loaded)), encoding="utf-8")
        written[kind].append(path)
    return written


def test_workflows_and_pipelines_are_what_their_schemas_allow(tmp_path: Path) -> None:
    written = write_configurations([block for block in BLOCKS if block.language == "yaml"], tmp_path)
    assert {kind: len(files) > 5 for kind, files in written.items()} == dict.fromkeys(written, True)
    for kind, files in written.items():
        checked = check_jsonschema(kind, *files)
        assert checked.returncode == 0, checked.stdout


# --- a false block of each kind ---------------------------------------------------------------------------------------

CONSOLE = {
    "no such command": ("$ manywheels bild", "there is no command `bild`"),
    "no such option": ("$ manywheels build --buidl cp312", "did you mean `--build`"),
    "option of another command": ("$ manywheels verify dist --archs x86_64", "no option `--archs`"),
    "a choice": ("$ manywheels build --engine podman", "podman"),
    "a value": ('$ manywheels build --archs "x86_64 sparc"', "sparc"),
    "a pattern that matches nothing": ("$ manywheels plan --build cp27-*", "cp27"),
    "a platform": ("$ manywheels build --platform manylinux_3", "manylinux_3"),
    "a duration": ("$ manywheels publish dist --confirm soon", "soon"),
    "a variable's value": ("$ CIBW_BUILD='cp27-*' manywheels plan", "cp27"),
    "a code": ("$ manywheels explain MW999", "MW999"),
    "one argument too many": ("$ manywheels build a b", "one argument too many"),
    "the second of two": ("$ cd spam && manywheels bild", "bild"),
    "in a pipe": ("$ manywheels plan --jsn | jq .", "--jsn"),
    "in a container": ("$ docker run --rm -v $PWD:/io IMAGE manywheels build --buidl /io", "--buidl"),
    "started by uvx": ("$ uvx --from 'git+https://example.org/manywheels@v0' manywheels bild", "bild"),
    "by its path": ("$ ~/manywheels/.venv/bin/manywheels bild", "bild"),
    "continued": ("$ manywheels build \\\n    --buidl cp312", "--buidl"),
    "make": ("$ make everything", "has no `everything`"),
    "nothing": ("", "without a command"),
}
TOML = {
    "syntax": ("[tool.manywheels", "x.md:2"),
    "a key": ('[tool.manywheels]\nbefore-al = "true"', "before-all"),
    "a value": ('[tool.manywheels]\ntimeout = "soon"', "soon"),
    "a type": ("[tool.manywheels]\nverbose = 3", "verbose"),
    "a key of an override": ('[[tool.manywheels.overrides]]\nselect = "*"\njobs = 1', "jobs"),
    "an override's pattern": ('[[tool.manywheels.overrides]]\nselect = "*-muslinux_*"\nimage = "x"', "muslinux"),
    "a rule": ('[tool.manywheels.verify]\nignore = ["MW999"]', "MW999"),
    "a tool": ("[tool.manywheel]\njobs = 1", "manywheel"),
    "cibuildwheel's key": ('[tool.cibuildwheel]\nbefore-al = "true"', "before-al"),
    "cibuildwheel's value": ('[tool.cibuildwheel]\nenable = "everything"', "everything"),
    "a requirement": ('[build-system]\nrequires = ["numpy=>2"]', "numpy"),
}
YAML = {
    "syntax": ("a: [", "x.md:2"),
    "an input": ("- uses: manywheels/manywheels@v0\n  with: {biuld: cp312-*}", "no input biuld"),
    "an input's value": ("- uses: manywheels/manywheels@v0\n  with: {timeout: soon}", "soon"),
    "a command": ("- uses: manywheels/manywheels@v0\n  with: {command: upload}", "upload"),
    "an output": ("- {id: a, uses: manywheels/manywheels@v0}\n- run: echo ${{ steps.a.outputs.digest }}", "digest"),
    "an input of the workflow": (f"jobs: {{a: {{uses: {THEIR_WORKFLOW}@v0, with: {{jobs: 1}}}}}}", "no input jobs"),
    "a workflow": ("jobs: {a: {uses: manywheels/manywheels/.github/workflows/wheel.yml@v0}}", "there is no"),
    "a component": (f"include: [{{component: {THEIR_COMPONENT[:-1]}@v0}}]", "there is no"),
    "an input of the component": (
        f"include: [{{component: {THEIR_COMPONENT}@v0, inputs: {{shard: 1/2}}}}]",
        "no input shard",
    ),
    "its type": (f"include: [{{component: {THEIR_COMPONENT}@v0, inputs: {{sdist: 'yes'}}}}]", "boolean"),
    "its value": (f"include: [{{component: {THEIR_COMPONENT}@v0, inputs: {{timeout: soon}}}}]", "soon"),
    "a script": ("plan: {script: [manywheels plan --matrix travis]}", "travis"),
}
OTHERS = {
    ("json", "syntax"): ("{1: 2}", "x.md:2"),
    ("python", "syntax"): ("print 1", "x.md:2"),
    ("", "no language"): ("x", "nothing checks ``"),
    ("fortran", "no such language"): ("x", "nothing checks `fortran`"),
}
FALSE = {
    **{("console", name): sample for name, sample in CONSOLE.items()},
    **{("sh", name): (text.replace("$ ", ""), said) for name, (text, said) in CONSOLE.items()},
    **{("toml", name): sample for name, sample in TOML.items()},
    **{("yaml", name): sample for name, sample in YAML.items()},
    **OTHERS,
}


@pytest.mark.parametrize(("language", "name"), FALSE)
def test_a_false_block_is_refused_where_it_is(language: str, name: str, tmp_path: Path) -> None:
    text, said = FALSE[language, name]
    (block,) = blocks_of(f"```{language}\n{text}\n```\n", "x.md")
    with pytest.raises(Untrue, match=re.escape(said)) as refused:
        check(block, tmp_path)
    assert "x.md:2" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("manywheels bild", "no command `bild`"),
        ("manywheels build --buidl", "--buidl"),
        ("manywheels verify --imprt-in IMAGE", "--imprt-in"),
        ("manywheels completion tcsh", "tcsh"),
        (".venv/bin/manywheels clean everything", "everything"),
        ("make everything", "everything"),
    ],
)
def test_false_code_within_text_is_refused_where_it_is(text: str, said: str) -> None:
    (command,) = inline_code_of(f"# Title\n\n| a | `{text}` |\n", "x.md")
    with pytest.raises(Untrue, match=re.escape(said)) as refused:
        check_inline(command)
    assert "x.md:3" in str(refused.value)


def test_true_code_is_taken(tmp_path: Path) -> None:
    for text in ("manywheels build", "manywheels verify", "manywheels gather DIR…", "manywheels @ git+x", "make docs"):
        check_inline(Command(place="x.md:1", text=text))
    page = """
        1. In a list:

            ~~~sh
            # a comment
            docker run -v "$PWD:/io" image manywheels build --build cp312 \\
                /io >log   # and another
            docker image ls manywheels
            ~~~
        """
    (block,) = blocks_of(dedent(page), "x.md")
    check(block, tmp_path)
    first, second = commands_of(block)
    assert first.parts[0].of_manywheels == ["build", "--build", "cp312", "/io"]
    assert first.place == "x.md:6"
    assert second.parts[0].of_manywheels is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("on: push\njobs: {a: {runs-on: x, tiemout: 5, steps: [{uses: a/b@c}]}}", "github-workflows"),
        ("- {uses: manywheels/manywheels@v0, wiht: {}}", "github-workflows"),
        ("publish: {when: sometimes}", "gitlab-ci"),
    ],
)
def test_a_false_configuration_is_refused_by_its_schema(text: str, kind: str, tmp_path: Path) -> None:
    written = write_configurations(blocks_of(f"```yaml\n{text}\n```\n", "x.md"), tmp_path)
    checked = check_jsonschema(kind, *written[kind])
    assert checked.returncode == 1
    assert "x.md-2" in checked.stdout
