"""Builds of several targets that share what they compile: what is compiled, and that the wheels are the same."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from host.test_toolchain import needs_gcc, needs_zig

if TYPE_CHECKING:
    from pathlib import Path

    from host.conftest import Finished, Program

TAGS = "cp310 cp311 cp312"
# Four units that make compiles, for all alike; two beside the module, with options that Pythons may not have in common;
# and the module's own for each.
UNITS = 3 * 7
COMPILED = range(4 + 2 + 3, 4 + 3 * 2 + 3 + 1)
TESTED = ("--test-command", "python -c 'import bundled; assert bundled.total() == 21'")


def modules(wheels: list[Path]) -> dict[str, bytes]:
    """Return the extension modules of wheels, by name."""
    found: dict[str, bytes] = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            found |= {name: archive.read(name) for name in archive.namelist() if name.endswith(".so")}
    return found


def counts(finished: Finished) -> tuple[int, int, int]:
    made = finished.manifest["compilations"]
    return made["compiled"], made["shared"], made["alone"]


@pytest.mark.parametrize("toolchain", [pytest.param("zig", marks=needs_zig), pytest.param("system", marks=needs_gcc)])
def test_each_unit_is_compiled_once_and_the_wheels_are_the_same(toolchain: str, program: Program) -> None:
    options = ("--toolchain", toolchain, *TESTED)
    shared = program.build("bundled", *options, tags=TAGS)
    alone = program.build("bundled", *options, "--no-compiler-cache", tags=TAGS)

    assert shared.status == alone.status == 0, shared.text + alone.text
    compiled, _, _ = counts(shared)
    assert compiled in COMPILED
    assert counts(shared) == (compiled, UNITS - compiled, 0)
    assert f"{counts(shared)[1]} of {UNITS} compilations shared" in shared.text
    assert alone.manifest["compilations"] is None
    assert len(modules(shared.wheels)) == 3
    assert modules(shared.wheels) == modules(alone.wheels)


def test_objects_that_are_kept_serve_the_next_run(program: Program) -> None:
    options = ("--compiler-cache", "keep", *TESTED)
    source = program.copy("bundled")
    for unit in source.rglob("*.c"):  # the machine's cache folder may have objects of an earlier run of this test
        with unit.open("a") as file:
            file.write(f'const char *run_of_{unit.stem} = "{uuid4()}";\n')
    first = program.build(source, *options, tags=TAGS)
    second = program.build(source, *options, tags=TAGS)
    (source / "lib/two.c").write_text((source / "lib/two.c").read_text() + "int unused(void) { return 0; }\n")
    changed = program.build(source, *options, tags=TAGS)

    assert first.status == second.status == changed.status == 0, first.text + second.text + changed.text
    assert counts(first)[0] in COMPILED
    assert counts(second) == (0, UNITS, 0)
    assert counts(changed) == (1, UNITS - 1, 0)
    assert modules(first.wheels) == modules(second.wheels)
