"""Write the inputs of the reusable workflow .github/workflows/wheels.yml, from action.yml.

python docs/workflow.py          update the file
python docs/workflow.py --check  say if it is out of date, with exit status 1
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from gitlab import dump, fill_marks
from manywheels.plan import inputs

FILE: Final = Path(__file__).resolve().parent.parent / ".github" / "workflows" / "wheels.yml"
# Inputs that the workflow gives itself, or has no use for: a job without targets leaves no artifact to gather.
NOT_HERE: Final = {"output-dir", "only", "archs", "shard", "jobs", "verbose", "allow-empty"}
MORE: Final = ("package-dir", "retention-days")


def entries() -> tuple[inputs.Input, ...]:
    """Return the inputs that users of the workflow can give to the action."""
    names = [MORE[0], *(entry.name for entry in inputs.inputs_of("plan")), *MORE[1:]]
    return tuple(inputs.declared_inputs()[name] for name in names if name not in NOT_HERE)


def generated() -> str:
    """Return the workflow with its generated parts updated."""
    declared = {
        entry.name: {"description": entry.description, "type": _type(entry), "default": _default(entry)}
        for entry in entries()
    }
    given = "\n".join(f"{entry.name}: ${{{{ inputs.{entry.name} }}}}" for entry in entries())
    return fill_marks(fill_marks(FILE.read_text("utf-8"), "inputs", dump(declared)), "with", given)


def _type(entry: inputs.Input) -> str:
    return "boolean" if entry.default in {"true", "false"} else "string"


def _default(entry: inputs.Input) -> str | bool:
    return entry.default == "true" if _type(entry) == "boolean" else entry.default


def main(arguments: list[str]) -> int:
    """Update or check the file; return the exit status."""
    text = generated()
    if FILE.read_text("utf-8") == text:
        return 0
    if "--check" in arguments:
        print(f"{FILE.name}: out of date, run `make docs`")
        return 1
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
