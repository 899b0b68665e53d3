"""Repair one wheel with auditwheel, in its own process because auditwheel changes the working folder.

    python -m manywheels.build.stages.auditwheel_worker REQUEST

`REQUEST` is JSON with `wheel`, `folder` (for the repaired wheel), `policy` (as `manylinux_2_28`), `arch`,
`library_path`, `exclude` (patterns of libraries not to graft), `strip`, `is_foreign` (this machine could not load the
wheel, so that its own libraries are none to graft), and `result`: the file to write, JSON with `wheel` (the repaired
file), with `problem` and `remedy`, or with `compiled`, false for a wheel without an ELF file.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auditwheel.policy import Policy
    from auditwheel.wheel_abi import WheelAbIInfo


class _NothingCompiled(Exception):
    pass


class _Refused(Exception):
    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy


def main(request: dict[str, Any]) -> None:
    try:
        result: dict[str, str | bool] = {"wheel": str(_repair(request))}
    except _NothingCompiled:
        result = {"compiled": False}
    except _Refused as refused:
        result = {"problem": refused.problem, "remedy": refused.remedy}
    Path(request["result"]).write_text(json.dumps(result), encoding="utf-8")


def _repair(request: dict[str, Any]) -> Path:
    from auditwheel.architecture import Architecture
    from auditwheel.error import AuditwheelError, NonPlatformWheelError
    from auditwheel.libc import Libc
    from auditwheel.patcher import ElfPatcher
    from auditwheel.repair import repair_wheel
    from auditwheel.wheel_abi import analyze_wheel_abi

    wheel, folder, policy_name = Path(request["wheel"]), Path(request["folder"]), request["policy"]
    # Searched beside the system's folders; what `args_ldpaths` names is searched in their place.
    os.environ["AUDITWHEEL_LD_LIBRARY_PATH"] = request["library_path"] or ""
    is_foreign = request["is_foreign"]
    libc = Libc.MUSL if policy_name.startswith("musllinux") else Libc.GLIBC
    try:
        abi = analyze_wheel_abi(
            libc, Architecture(request["arch"]), wheel, frozenset(request["exclude"]),
            disable_isa_ext_check=False, allow_graft=True, requested_policy_base_name=policy_name,
            args_ldpaths="" if is_foreign else None,
        )  # fmt: skip
    except NonPlatformWheelError as error:
        if "Invalid binary wheel" in error.message:  # there are ELF files, of another architecture
            raise _Refused(error.message.strip(), "Build them for the target's architecture.") from None
        raise _NothingCompiled from None
    except (AuditwheelError, RuntimeError) as error:
        raise _Refused(str(getattr(error, "message", error)), "auditwheel cannot repair this wheel.") from None
    policy = abi.policies.get_policy_by_name(f"{policy_name}_{request['arch']}")
    _require_repairable(wheel, abi, policy, request["arch"])
    if is_foreign:
        _require_own_libraries(abi, policy, request["library_path"] or "")
    tags = [policy.name, *policy.aliases]
    if policy < abi.overall_policy:
        tags = [abi.overall_policy.name, *abi.overall_policy.aliases, *tags]
    try:
        repaired = repair_wheel(
            abi, wheel, abis=tags, lib_sdir=".libs", out_dir=folder, update_tags=True,
            patcher=ElfPatcher.get_patcher("patchelf", policy.name),
            # The machine's strip does not know the files; what the embedded compilers link is stripped already.
            strip=request["strip"] and not is_foreign, zip_compression_level=-1,
        )  # fmt: skip
    except (ValueError, RuntimeError) as error:
        where = "Build the library for the target" if is_foreign else "Install the library where the build looks for it"
        raise _Refused(f"{error}.", f"{where}, or set LD_LIBRARY_PATH in `environment`.") from None
    if repaired is None:
        raise _NothingCompiled
    _mend_run_paths(repaired)
    return repaired


def _require_repairable(wheel: Path, abi: WheelAbIInfo, policy: Policy, arch: str) -> None:
    if policy > abi.sym_policy:
        symbols = "; ".join(_too_new(wheel, abi, policy))
        raise _Refused(
            f"The wheel needs symbols newer than {policy.name} allows: {symbols}.",
            f"Build against an older glibc, or set `platform: {abi.sym_policy.name.removesuffix(f'_{arch}')}`.",
        )
    if policy > abi.blacklist_policy:
        raise _Refused(f"The wheel uses symbols that {policy.name} forbids.", "`auditwheel show` names them.")
    if policy > abi.machine_policy:
        raise _Refused(
            f"The wheel needs instructions that {policy.name} does not allow.",
            "Build without options such as -march=native.",
        )


def _require_own_libraries(abi: WheelAbIInfo, policy: Policy, library_path: str) -> None:
    """Refuse libraries that auditwheel found beside a program's loader, among those of this machine."""
    folders = [Path(folder).resolve() for folder in library_path.split(os.pathsep) if folder]
    for name, path in abi.external_refs[policy.name].libs.items():
        if path and not any(path.resolve().is_relative_to(folder) for folder in folders):
            raise _Refused(
                f"The wheel needs {name}, and {path} is this machine's own, not for {policy.name}.",
                "Build the library for the target, and name its folder in LD_LIBRARY_PATH in `environment`.",
            )


def _too_new(wheel: Path, abi: WheelAbIInfo, policy: Policy) -> Iterator[str]:
    """Yield symbols of the wheel's files, and symbol versions of libraries to graft."""
    from manywheels.verify.checks.symbols import symbols_above
    from manywheels.verify.model import open_wheel

    with open_wheel(wheel) as opened:
        named = list(symbols_above(opened, policy))
    for member, symbols in named:
        yield f"{', '.join(symbols[:8])} in {member}"
    seen = {symbol.rpartition("@")[2] for _, symbols in named for symbol in symbols}
    for library, versions in abi.versioned_symbols.items():
        for version in sorted(versions - seen):
            family, _, number = version.partition("_")
            if family in policy.symbol_versions and number not in policy.symbol_versions[family]:
                yield f"{version} of {library} in a library to be grafted"


def _mend_run_paths(wheel: Path) -> None:
    """Change the run paths that auditwheel leaves wrong.

    It keeps those of the build machine in files without grafted libraries. A program that it grafts for moves from
    *.data/scripts to *.scripts, and loses its way to libraries that were in the wheel before.
    """
    from auditwheel.wheeltools import InWheelCtx

    from manywheels.verify.checks.libraries import ways_to_libraries
    from manywheels.verify.checks.platform import is_inside
    from manywheels.verify.model import open_wheel

    with open_wheel(wheel) as opened:
        lost = ways_to_libraries(opened)
        wanted = {
            file.member: ":".join([*filter(is_inside, file.run_paths), *lost.get(file.member, ())])
            for file in opened.elves
            if file.member in lost or not all(map(is_inside, file.run_paths))
        }
    if not wanted:
        return
    with InWheelCtx(wheel) as context:
        context.out_wheel = wheel
        for member, run_path in wanted.items():
            _patchelf(*(["--set-rpath", run_path] if run_path else ["--remove-rpath"]), member)


def _patchelf(*arguments: str) -> None:
    import subprocess

    subprocess.run(["patchelf", *arguments], check=True)  # noqa: S607 - the pinned one is first on PATH


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
