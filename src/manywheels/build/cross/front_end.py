"""Build one wheel for a machine that cannot run here (PEP 517).

    python -I -S front_end.py TASK

This program runs in the sandbox, as the target's user. Build requirements are installed as this machine's own; the
back end runs with the target's face (`face.py`). `TASK` is JSON, made by `command.CrossBuild`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

_LEGACY: Final = {"requires": ["setuptools>=40.8.0"], "build-backend": "setuptools.build_meta:__legacy__"}
# What compilers and build systems would take for the target, where this machine's own are installed.
_OF_THE_TARGET: Final = (
    "LDSHARED", "LDCXXSHARED", "AR", "RANLIB", "STRIP", "CARGO_BUILD_TARGET", "CMAKE_TOOLCHAIN_FILE", "CONFIG_SITE",
    "PKG_CONFIG_LIBDIR", "PYO3_CROSS_LIB_DIR", "PYO3_CROSS_PYTHON_VERSION", "MANYWHEELS_CROSS",
)  # fmt: skip
# The files of a package that compilers read, and not Python.
_FOR_COMPILERS: Final = {".h", ".hh", ".hpp", ".hxx", ".inc", ".ipp", ".a", ".pc", ".ini"}


class Failed(Exception):
    """The exit status of what failed, whose output says why."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class FrontEnd:
    """One build."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.task = task
        self.folder = Path(task["folder"])
        self.venv = Path(task["venv"]) if task["venv"] else self.folder / "venv"
        self.python = self.venv / "bin/python"
        self.refused = self.folder / "refused"  # the programs that the build could not run (`run-target`)
        self.settings: dict[str, Any] = task["settings"]
        bin_folder = f"{self.venv / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        self.environment = {**os.environ, "PATH": bin_folder, "VIRTUAL_ENV": str(self.venv)}

    def run(self) -> None:
        """Raises Failed, OSError, and ValueError for a pyproject.toml that is none."""
        system = self._build_system()
        self.folder.mkdir(exist_ok=True)
        if not self.task["venv"]:
            self._uv("venv", "--quiet", "--no-project", "--no-config", "--python", self.task["python"], str(self.venv))
            if system["requires"]:  # uv refuses to install nothing
                self._install(*system["requires"])
        self._put_on_face()
        if not self.task["venv"]:
            wanted = self.folder / "requires.txt"
            self._hook(system, "get_requires_for_build_wheel", wanted)
            if wanted.read_text("utf-8").strip():
                self._install("--requirements", str(wanted))
        self._take_headers()
        self._add_meson_settings(system)
        self._hook(system, "build_wheel", Path(self.task["output"]))
        self._require_nothing_refused()

    def _build_system(self) -> dict[str, Any]:
        try:
            declared = tomllib.loads(Path("pyproject.toml").read_text("utf-8")).get("build-system")
        except FileNotFoundError:
            declared = None
        if declared is None:
            return dict(_LEGACY)
        if "requires" not in declared:
            raise ValueError("pyproject.toml: [build-system] has no `requires`, which PEP 518 demands")
        return {"build-backend": _LEGACY["build-backend"], **declared}

    # --- requirements -------------------------------------------------------------------------------------------------

    def _install(self, *requirements: str) -> None:
        constraints = [
            word for name in ("UV_BUILD_CONSTRAINT", "PIP_BUILD_CONSTRAINT")
            for file in os.environ.get(name, "").split() for word in ("--constraints", file)
        ]  # fmt: skip
        self._uv("pip", "install", "--python", str(self.python), *constraints, *requirements)

    def _uv(self, *arguments: str) -> None:
        own = {name: value for name, value in os.environ.items() if name not in _OF_THE_TARGET}
        for name in ("CC", "CXX"):
            own[name] = os.environ.get(f"{name}_FOR_BUILD", "")
            if not own[name]:
                del own[name]
        _run((self.task["uv"], *arguments), own)

    def _take_headers(self) -> None:
        """Put the target's headers and static libraries in the place of this machine's."""
        site = next((self.venv / "lib").glob("python3*/site-packages"))
        for name, version, files in _compiled_packages(site):
            if not files:
                continue
            there = self.folder / "target-packages" / name
            if not self._fetch(f"{name}=={version}", there):
                print(
                    f"manywheels: warning: {name} {version} has no wheel for {self.task['platform']}: "
                    "its headers are those of this machine's", flush=True,
                )  # fmt: skip
                continue
            for file in files:
                if (there / file).is_file():
                    _replace(site / file, there / file)

    def _fetch(self, requirement: str, folder: Path) -> bool:
        if not self.task["uv-platform"]:
            return False
        try:
            self._uv(
                "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--python", str(self.python),
                "--python-platform", self.task["uv-platform"], "--target", str(folder), requirement,
            )  # fmt: skip
        except Failed:
            return False
        return True

    # --- the back end -------------------------------------------------------------------------------------------------

    def _put_on_face(self) -> None:
        site = next((self.venv / "lib").glob("python3*/site-packages"))
        shutil.copyfile(self.task["face"], site / "_manywheels_face.py")
        (site / "_manywheels_face.pth").write_text("import _manywheels_face; _manywheels_face.put_on()\n", "utf-8")

    def _add_meson_settings(self, system: dict[str, Any]) -> None:
        """meson-python takes the target from a file for Meson, which no variable names."""
        if not any(self._is_installed(name) for name in ("mesonpy",)) or "meson" not in str(system).lower():
            return
        own = self.folder / "meson.ini"
        scripts = sorted(path for path in (self.venv / "bin").glob("*-config") if path.is_file())
        lines = ["[binaries]", f"python = '{self.python}'", *(f"{path.name} = '{path}'" for path in scripts)]
        own.write_text("\n".join([*lines, ""]), "utf-8")
        given = self.settings.get("setup-args", [])
        given = [given] if isinstance(given, str) else given
        self.settings["setup-args"] = [f"--cross-file={self.task['meson']}", f"--cross-file={own}", *given]

    def _is_installed(self, module: str) -> bool:
        return any((self.venv / "lib").glob(f"python3*/site-packages/{module}"))

    def _hook(self, system: dict[str, Any], hook: str, output: Path) -> None:
        task = self.folder / f"{hook}.json"
        described = {
            "backend": system["build-backend"], "backend-path": system.get("backend-path", []), "hook": hook,
            "settings": self.settings, "output": str(output),
        }  # fmt: skip
        task.write_text(json.dumps(described), "utf-8")
        argv = (str(self.python), self.task["hooks"], str(task))
        own = {"MANYWHEELS_CROSS": self.task["facts"], "MANYWHEELS_REFUSED": str(self.refused)}
        _run(argv, {**self.environment, **own})

    def _require_nothing_refused(self) -> None:
        """A configure test that cannot run is an answer to CMake, and would make another wheel than a native build."""
        if not self.refused.exists():
            return
        for program in dict.fromkeys(self.refused.read_text("utf-8", "replace").splitlines()):
            print(f"manywheels: error: cannot run {program}, which was built for {self.task['platform']}", flush=True)
        raise Failed(1)


def _compiled_packages(site: Path) -> list[tuple[str, str, list[str]]]:
    """Return name, version and files for compilers of each installed package that is not the same everywhere."""
    found = []
    for folder in sorted(site.glob("*.dist-info")):
        try:
            wheel = (folder / "WHEEL").read_text("utf-8")
            record = (folder / "RECORD").read_text("utf-8").splitlines()
        except (OSError, ValueError):
            continue
        if all(line.endswith("-any") for line in wheel.splitlines() if line.startswith("Tag:")):
            continue
        name, _, version = folder.name.removesuffix(".dist-info").rpartition("-")
        files = [line.split(",")[0] for line in record]
        found.append((name, version, [file for file in files if Path(file).suffix in _FOR_COMPILERS]))
    return found


def _replace(file: Path, by: Path) -> None:
    """Replace a file, and not its content, which the installer's cache may share."""
    fresh = file.with_name(f"{file.name}.target")
    shutil.copyfile(by, fresh)
    fresh.replace(file)


def _run(argv: tuple[str, ...], environment: dict[str, str]) -> None:
    status = subprocess.run(argv, env=environment, check=False).returncode
    if status != 0:
        raise Failed(status if status > 0 else 128 - status)


def main(task: dict[str, Any]) -> int:
    try:
        FrontEnd(task).run()
    except Failed as failed:
        return failed.status
    except (OSError, ValueError) as error:
        print(f"manywheels: error: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
