"""Write GitLab's templates and the table of docs/gitlab.md, from action.yml (inputs) and install.sh.

python docs/gitlab.py          update the files
python docs/gitlab.py --check  name the files that are out of date, with exit status 1

GitLab reads a component from `templates/<name>.yml`, which must not be a symbolic link. A template that asks for its
component's commit cannot be included in other ways. So these files declare the inputs, ask for the commit, and include
the jobs from ci-templates/. A file for `include: remote` cannot include other files of its repository, so wheels.yml
has both jobs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from manywheels.plan import inputs
from tables import fill

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCES: Final = ROOT / "ci-templates"
# Inputs of these commands that GitLab's own keywords replace, or that are about GitHub's artifacts.
NOT_HERE: Final = {"image", "shard", "packages-dir", "artifact-name", "artifact-pattern", "manifest-digest"}
WRITTEN: Final = "# Written by `make docs` from {}.\n"
Spec = dict[str, dict[str, Any]]


def program_inputs(job: str) -> tuple[inputs.Input, ...]:
    """Return the inputs of action.yml that the template `build-wheels` or `publish` has."""
    names = ["package-dir"] + [entry.name for entry in inputs.inputs_of("plan" if job == "build-wheels" else "publish")]
    return tuple(inputs.declared_inputs()[name] for name in names if name not in NOT_HERE)


def template(job: str) -> str:
    """Return ci-templates/<job>.yml with its generated parts updated."""
    text = (SOURCES / f"{job}.yml").read_text("utf-8")
    entries = program_inputs(job)
    declared: Spec = {entry.name: _declaration(entry) for entry in entries}
    variables = "\n".join(f'{_variable(entry.name)}: {{value: "{_value(entry)}", expand: false}}' for entry in entries)
    script = yaml.dump([_Literal((SOURCES / "install.sh").read_text("utf-8"))], Dumper=_Dumper, width=1000)
    return fill_marks(fill_marks(fill_marks(text, "inputs", dump(declared)), "variables", variables), "install", script)


def both() -> str:
    """Return wheels.yml: both jobs in one file, with each common input once."""
    spec, jobs = _parse(template("build-wheels"))
    publish_spec, publish_jobs = _parse(template("publish"))
    needs = publish_spec.pop("needs")["default"]
    for name in ("stage", "rules", "image"):
        publish_spec[f"publish-{name}"] = publish_spec.pop(name)
    needed = str([f"$[[ inputs.job-prefix ]]{name}" for name in needs])
    text = dump(publish_jobs).replace("$[[ inputs.needs ]]", needed)
    text = re.sub(r"\[\[ inputs\.(stage|rules|image) \]\]", r"[[ inputs.publish-\1 ]]", text)
    jobs |= yaml.safe_load(text)
    head = "# Builds the project's wheels and publishes them. Inputs: docs/gitlab.md.\n"
    return head + WRITTEN.format("build-wheels.yml and publish.yml") + _document(spec | publish_spec, jobs)


def component(name: str, included: str) -> str:
    """Return templates/<name>.yml: the same inputs, and the program at the component's commit."""
    spec, _ = _parse(included)
    given = {entry: f"$[[ inputs.{entry} ]]" for entry in spec} | {"revision": "$[[ component.sha ]]"}
    del spec["revision"]
    body = {"include": [{"local": f"/ci-templates/{name}.yml", "inputs": given}]}
    head = WRITTEN.format(f"ci-templates/{name}.yml, which has the jobs")
    return head + _document(spec, body, component=["sha"])


def inputs_table(text: str) -> str:
    """Return a template's inputs as a Markdown table."""
    spec, _ = _parse(text)
    rows = (
        f"| `{name}` | {entry.get('type', 'string')} | {_default(entry['default'])} | {entry['description']} |"
        for name, entry in spec.items()
    )
    return "\n".join(["| input | type | default | meaning |", "| --- | --- | --- | --- |", *rows])


def generated() -> dict[Path, str]:
    """Return the content of every generated file."""
    texts = {"build-wheels": template("build-wheels"), "publish": template("publish"), "wheels": both()}
    page = ROOT / "docs" / "gitlab.md"
    pages = page.read_text("utf-8")
    files = {}
    for name, text in texts.items():
        files[SOURCES / f"{name}.yml"] = text
        files[ROOT / "templates" / f"{name}.yml"] = component(name, text)
        pages = fill(pages, name, inputs_table(text))
    return files | {page: pages}


def main(arguments: list[str]) -> int:
    """Update or check the files; return the exit status."""
    files = generated()
    stale = [path for path, text in files.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        if "--check" not in arguments:
            path.write_text(files[path], encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {'out of date, run `make docs`' if '--check' in arguments else 'written'}")
    return 1 if stale and "--check" in arguments else 0


def _declaration(entry: inputs.Input) -> dict[str, Any]:
    if entry.default in {"true", "false"}:
        return {"description": entry.description, "type": "boolean", "default": entry.default == "true"}
    return {"description": entry.description, "default": inputs.gitlab_defaults().get(entry.name, entry.default)}


def _variable(name: str) -> str:
    return inputs.GITLAB_PREFIX + name.upper().replace("-", "_")


def _value(entry: inputs.Input) -> str:
    # A variable cannot be a boolean: the blank makes it text.
    blank = " " if entry.default in {"true", "false"} else ""
    return f"$[[ inputs.{entry.name} ]]{blank}"


def _default(value: object) -> str:
    if value == "":
        return "empty"
    return f"`{yaml.safe_dump([value], default_flow_style=True, width=1000).strip()[1:-1]}`"


def _parse(text: str) -> tuple[Spec, dict[str, Any]]:
    header, jobs = yaml.safe_load_all(text)
    spec: Spec = header["spec"]["inputs"]
    return spec, jobs


def fill_marks(text: str, name: str, block: str) -> str:
    """Return a text with a block between the marks of a name."""
    marks = re.compile(rf"^( *)# {name}: begin\n.*?^ *# {name}: end\n", re.DOTALL | re.MULTILINE)
    found = marks.search(text)
    if found is None:
        raise SystemExit(f"the marks of {name} are missing")
    lines = [f"# {name}: begin", *block.splitlines(), f"# {name}: end"]
    return text[: found.start()] + "".join(f"{found[1]}{line}".rstrip() + "\n" for line in lines) + text[found.end() :]


class _Literal(str):
    """A text that is written as a literal block."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(_Literal, _represent_text)


def dump(value: Mapping[str, Any]) -> str:
    """Return YAML with a line for each text."""
    return str(yaml.dump(dict(value), Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True))


def _document(spec: Spec, body: Mapping[str, Any], **header: object) -> str:
    return f"{dump({'spec': header | {'inputs': spec}})}---\n{dump(body)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
