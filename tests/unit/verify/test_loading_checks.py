"""What loaders refuse: each code with a wheel that breaks just that, and with one that comes close to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import auditwheel.policy  # noqa: F401 - loaded here, so that no one test bears its time
import pytest

from manywheels.data import table
from manywheels.verify.checks import libraries, loading, platform, symbols
from manywheels.verify.model import Problem, open_wheel
from unit.elfmaker import AARCH64, PPC64, SharedObject, Symbol
from unit.helpers import write_wheel

CHECKS = (*platform.CHECKS, *symbols.CHECKS, *libraries.CHECKS, *loading.CHECKS)
EXTENSION = "demo/_core.cpython-312-x86_64-linux-gnu.so"
STABLE = "demo/_core.abi3.so"
MALLOC = Symbol(name="malloc", version="GLIBC_2.2.5")
TAGS = "cp312-cp312-manylinux_2_28_x86_64"


def loose(*names: str, weak: bool = False) -> tuple[Symbol, ...]:
    return tuple(Symbol(name=name, version=None, weak=weak) for name in names)


def problems(
    folder: Path, members: Mapping[str, SharedObject | bytes] | SharedObject, *, tags: str = TAGS
) -> list[tuple[str, Problem]]:
    """Return the codes and problems of a wheel with these files; one object stands for the extension module."""
    given = {EXTENSION: members} if isinstance(members, SharedObject) else members
    contents = {name: one.to_bytes() if isinstance(one, SharedObject) else one for name, one in given.items()}
    with open_wheel(write_wheel(folder, tags=tags, members=contents)) as wheel:
        return [(check.code, problem) for check in CHECKS for problem in check.run(wheel)]


def the_one(found: list[tuple[str, Problem]], code: str, *, member: str = EXTENSION) -> Problem:
    assert [(found_code, problem.member) for found_code, problem in found] == [(code, member)], found
    assert found[0][1].remedy
    return found[0][1]


# --- MW211, MW229: symbols without a version --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "came_with"),
    [("close_range", "2.34"), ("pidfd_open", "2.36"), ("__isoc23_strtol", "2.38"), ("stat", "2.33")],
)
def test_mw211_a_symbol_of_a_newer_glibc(tmp_path: Path, name: str, came_with: str) -> None:
    problem = the_one(problems(tmp_path, SharedObject(symbols=(MALLOC, *loose(name, "PyErr_NoMemory")))), "MW211")
    assert problem.message == (f"needs `{name}` (glibc {came_with}), but `manylinux_2_28_x86_64` promises glibc 2.28")
    assert f"glibc {came_with}" in problem.remedy


@pytest.mark.parametrize(
    ("wants", "tags"),
    [
        (loose("close_range"), "cp312-cp312-manylinux_2_34_x86_64"),
        (loose("close_range", weak=True), TAGS),
        (loose("close_range"), "cp312-cp312-musllinux_1_2_x86_64"),
        (loose("close_range"), "cp312-cp312-linux_x86_64"),
        (loose("thrd_create"), TAGS),  # glibc 2.28 itself
        (loose("malloc", "pow", "memcpy", "pthread_create", "dlopen"), TAGS),  # newer versions of old names
        (loose("PyList_New", "_Py_Dealloc", "_Py_NoneStruct", "PyPyList_New", "_PyPy_Dealloc"), TAGS),
    ],
)
def test_mw211_symbols_that_are_there(tmp_path: Path, wants: tuple[Symbol, ...], tags: str) -> None:
    assert problems(tmp_path, SharedObject(needed=(), symbols=wants), tags=tags) == []


def test_mw211_a_file_in_the_wheel_defines_it(tmp_path: Path) -> None:
    other = SharedObject(soname="libcompat.so", exports=("close_range",))
    wanting = SharedObject(needed=("libcompat.so",), runpath="$ORIGIN", symbols=loose("close_range"))
    assert problems(tmp_path, {EXTENSION: wanting, "demo/libcompat.so": other}) == []


@pytest.mark.parametrize("needed", [("libX11.so.6",), ("libown.so",)])
def test_mw211_a_promised_library_defines_no_name_of_glibc(tmp_path: Path, needed: tuple[str, ...]) -> None:
    """Of other names, as `who_knows`, nothing is said: libX11 gives its symbols no versions, and may define them."""
    own = SharedObject(soname="libown.so", needed=("libX11.so.6",))
    wanting = SharedObject(needed=needed, runpath="$ORIGIN", symbols=loose("close_range", "who_knows"))
    message = the_one(problems(tmp_path, {EXTENSION: wanting, "demo/libown.so": own}), "MW211").message
    assert "`close_range`" in message
    assert "who_knows" not in message


def test_mw211_a_library_from_elsewhere_may_define_it(tmp_path: Path) -> None:
    members = {EXTENSION: SharedObject(needed=("libelse.so",), symbols=loose("close_range")).to_bytes()}
    with open_wheel(write_wheel(tmp_path, tags=TAGS, members=members), ("libelse.so",)) as wheel:
        assert not [problem for check in CHECKS for problem in check.run(wheel)]


def test_mw211_the_strictest_tag_counts(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        SharedObject(symbols=loose("close_range")),
        tags="cp312-cp312-manylinux_2_17_x86_64.manylinux_2_34_x86_64",
    )
    assert "promises glibc 2.17" in the_one(found, "MW211").message


def test_mw211_the_facts_of_glibc() -> None:
    """Each name stands once, with the version of glibc's own manual and release notes."""
    facts = {version: names.split() for version, names in table("glibc_symbols").items()}
    every = [name for names in facts.values() for name in names]
    assert len(every) == len(set(every))
    for version, name in (("2.17", "clock_gettime"), ("2.25", "getrandom"), ("2.30", "gettid"), ("2.34", "close_range"),
                          ("2.35", "epoll_pwait2"), ("2.38", "strlcpy"), ("2.17", "pthread_create"), ("2.17", "dlsym"),
                          ("2.17", "fmod"), ("2.28", "fcntl64"), ("2.32", "__libc_single_threaded")):  # fmt: skip
        assert name in facts[version], name


def test_mw229_a_symbol_that_nothing_defines(tmp_path: Path) -> None:
    found = problems(tmp_path, SharedObject(symbols=(MALLOC, *loose("spam_new", "spam_eggs"))))
    message = the_one(found, "MW229").message
    assert "`spam_eggs`, `spam_new`" in message
    assert "`manylinux_2_28_x86_64`" in message


def test_mw229_another_file_defines_it_somewhere_in_the_wheel(tmp_path: Path) -> None:
    """Modules may be imported with RTLD_GLOBAL: no need is written down then."""
    members = {EXTENSION: SharedObject(symbols=loose("spam_new")), "demo/_base.so": SharedObject(exports=("spam_new",))}
    assert problems(tmp_path, members) == []


# --- MW212: executable stacks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stack", "machine", "tag"), [("rwx", 62, "x86_64"), (None, 62, "x86_64"), ("rwx", AARCH64, "aarch64")]
)
def test_mw212_an_executable_stack(tmp_path: Path, stack: str | None, machine: int, tag: str) -> None:
    found = problems(tmp_path, SharedObject(stack=stack, machine=machine), tags=f"cp312-cp312-manylinux_2_28_{tag}")
    assert "glibc 2.41" in the_one(found, "MW212").message


@pytest.mark.parametrize(
    ("wanted", "tags"),
    [
        (SharedObject(stack="rw"), TAGS),
        (SharedObject(stack=None, machine=AARCH64), "cp312-cp312-manylinux_2_28_aarch64"),
        (SharedObject(stack=None, machine=PPC64), "cp312-cp312-manylinux_2_28_ppc64le"),
        (SharedObject(stack="rwx", needed=()), "cp312-cp312-musllinux_1_2_x86_64"),  # musl does not look
        (SharedObject(stack="rwx", interpreter=True), TAGS),  # a program: the kernel grants it
    ],
)
def test_mw212_stacks_that_load(tmp_path: Path, wanted: SharedObject, tags: str) -> None:
    assert problems(tmp_path, wanted, tags=tags) == []


def test_mw212_a_library_with_an_interpreter_is_still_loaded(tmp_path: Path) -> None:
    library = SharedObject(stack="rwx", interpreter=True, soname="libsays-its-version.so.1")
    the_one(problems(tmp_path, {"demo/x.so": library}), "MW212", member="demo/x.so")


# --- MW213, MW214: code that is written to, and code for newer processors ---------------------------------------------


@pytest.mark.parametrize(("tag", "found"), [("TEXTREL", True), ("FLAGS", True), (None, False)])
def test_mw213_text_relocations(tmp_path: Path, tag: str | None, found: bool) -> None:  # noqa: FBT001
    codes = [code for code, _ in problems(tmp_path, SharedObject(text_relocations=tag))]
    assert codes == (["MW213"] if found else [])


@pytest.mark.parametrize(("bits", "level"), [(0b10, 2), (0b100, 3), (0b111, 3), (0b1000, 4)])
def test_mw214_newer_processors(tmp_path: Path, bits: int, level: int) -> None:
    assert f"x86-64-v{level} " in the_one(problems(tmp_path, SharedObject(isa_needed=bits)), "MW214").message


@pytest.mark.parametrize("bits", [0, 1])
def test_mw214_the_baseline(tmp_path: Path, bits: int) -> None:
    assert problems(tmp_path, SharedObject(isa_needed=bits)) == []


def test_mw214_folders_that_only_such_processors_look_into(tmp_path: Path) -> None:
    faster = SharedObject(isa_needed=0b100, soname="libfast.so.1")
    assert problems(tmp_path, {"demo.libs/glibc-hwcaps/x86-64-v3/libfast.so.1": faster}) == []
    member = "demo.libs/glibc-hwcaps/x86-64-v2/libfast.so.1"
    the_one(problems(tmp_path, {member: faster}), "MW214", member=member)


# --- MW215: copies of a runtime ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", ["libstdc++", "libgcc_s", "libgomp"])
def test_mw215_the_systems_runtime_and_a_copy(tmp_path: Path, runtime: str) -> None:
    copy, plain = f"{runtime}-1a2b3c4d.so.1.0.0", f"{runtime}.so.{6 if runtime == 'libstdc++' else 1}"
    members: dict[str, SharedObject | bytes] = {
        EXTENSION: SharedObject(needed=(plain,), runpath="$ORIGIN/libs"),
        "demo/_other.so": SharedObject(needed=(copy,), runpath="$ORIGIN/../demo.libs"),
        f"demo.libs/{copy}": SharedObject(soname=copy),
    }
    if runtime == "libgomp":  # promised by no policy
        members["demo/libs/libgomp.so.1"] = SharedObject(soname=plain)
    found = problems(tmp_path, members)
    assert [code for code, _ in found] == ["MW215"], found
    for name in (f"`{runtime}`", f"`{plain}`", f"`{copy}`", f"`{EXTENSION}`"):
        assert name in found[0][1].message


def test_mw215_one_copy(tmp_path: Path) -> None:
    copy = "libstdc++-1a2b3c4d.so.6.0.33"
    wants = SharedObject(needed=(copy,), runpath="$ORIGIN/../demo.libs")
    members = {EXTENSION: wants, f"demo.libs/{copy}": SharedObject(soname=copy)}
    assert problems(tmp_path, members) == []
    assert problems(tmp_path, SharedObject(needed=("libstdc++.so.6", "libgcc_s.so.1"))) == []


# --- MW216: free threading --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("_Py_Dealloc",), ["MW216"]),
        (("_Py_Dealloc", "_Py_MergeZeroLocalRefcount"), []),
        (("_Py_DecRef",), []),
    ],
)
def test_mw216_built_for_the_python_with_the_gil(tmp_path: Path, names: tuple[str, ...], found: list[str]) -> None:
    """Py_DECREF calls _Py_Dealloc in all Pythons but the free-threaded (Include/refcount.h)."""
    module = {"demo/_core.cpython-314t-x86_64-linux-gnu.so": SharedObject(symbols=loose(*names))}
    told = problems(tmp_path, module, tags="cp314-cp314t-manylinux_2_28_x86_64")
    assert [code for code, _ in told] == found
    assert all("with the GIL" in problem.message for _, problem in told)


@pytest.mark.parametrize("name", ["_Py_DecRefShared", "_Py_MergeZeroLocalRefcount"])
def test_mw216_built_for_the_free_threaded_python(tmp_path: Path, name: str) -> None:
    found = problems(tmp_path, {"demo/_core.so": SharedObject(symbols=loose(name, "PyList_New"))})
    message = the_one(found, "MW216", member="demo/_core.so").message
    assert f"`{name}`" in message
    assert "tagged `cp312`" in message


@pytest.mark.parametrize(
    ("tags", "names"),
    [
        ("cp313-cp313t", ("_Py_DecRefShared", "_Py_MergeZeroLocalRefcount")),
        ("cp313-cp313t", ("PyList_New",)),
        ("cp313-cp313", ("_Py_Dealloc",)),
    ],
)
def test_mw216_each_with_its_own_symbols(tmp_path: Path, tags: str, names: tuple[str, ...]) -> None:
    assert problems(tmp_path, SharedObject(symbols=loose(*names)), tags=f"{tags}-manylinux_2_28_x86_64") == []


BOTH = "demo/_core.abi3t.so"


@pytest.mark.parametrize(
    ("file", "names", "exports", "found"),
    [
        # Py_DECREF as it is written for abi3 until 3.11, and as it is inlined without the GIL
        (("cp315-abi3.abi3t", BOTH), ("_Py_Dealloc",), (), ["MW216"]),
        (("cp315-abi3t", BOTH), ("_Py_Dealloc",), (), ["MW216"]),
        (("cp315-abi3.abi3t", BOTH), ("_Py_MergeZeroLocalRefcount",), (), ["MW216", "MW218"]),
        (("cp315-abi3.abi3t", BOTH), ("_Py_DecRef", "PyList_New"), (), []),
        # a PyModuleDef, as abi3 has it, and the way of PEP 793
        (("cp315-abi3.abi3t", BOTH), ("PyModuleDef_Init",), ("PyInit__core",), ["MW216"]),
        (("cp315-abi3.abi3t", BOTH), ("PyModuleDef_Init",), ("PyInit__core", "PyModExport__core"), []),
        (("cp315-abi3.abi3t", STABLE), ("PyModuleDef_Init",), ("PyInit__core",), []),  # MW205
        (("cp315-abi3", STABLE), ("PyModuleDef_Init", "_Py_Dealloc"), ("PyInit__core",), []),
        # which Python a file promises
        (("cp315-abi3.abi3t", BOTH), ("Py_SIZE",), (), []),
        (("cp315-abi3.abi3t", BOTH), ("_PyObject_GetDictPtr",), (), ["MW218"]),
        (("cp39.cp315-abi3.abi3t", BOTH), ("Py_SIZE",), (), []),  # Python 3.9 does not load it, which is MW205
    ],
)
def test_what_an_extension_for_free_threaded_pythons_may_need(
    tmp_path: Path, file: tuple[str, str], names: tuple[str, ...], exports: tuple[str, ...], found: list[str]
) -> None:
    tags, member = file
    module = {member: SharedObject(symbols=loose(*names), exports=exports)}
    told = problems(tmp_path, module, tags=f"{tags}-manylinux_2_28_x86_64")
    assert list(dict.fromkeys(code for code, _ in told)) == found


def test_mw218_names_the_macros_of_both_stable_abis(tmp_path: Path) -> None:
    members = {BOTH: SharedObject(symbols=loose("_PyObject_GetDictPtr"))}
    found = problems(tmp_path, members, tags="cp315-abi3.abi3t-manylinux_2_28_x86_64")
    remedy = the_one(found, "MW218", member=BOTH).remedy
    assert "Py_LIMITED_API and Py_TARGET_ABI3T as 0x030F0000" in remedy


# --- MW217, MW219: libraries that should not be needed, and not so ----------------------------------------------------


@pytest.mark.parametrize("name", ["libpython3.12.so.1.0", "libpython3.so", "libpython3.13t.so.1.0"])
@pytest.mark.parametrize("member", [EXTENSION, "demo/_core.so"])
def test_mw217_libpython(tmp_path: Path, name: str, member: str) -> None:
    found = problems(tmp_path, {member: SharedObject(needed=("libc.so.6", name), exports=("PyInit__core",))})
    assert f"`{name}`" in the_one(found, "MW217", member=member).message


def test_mw217_programs_may_embed_it(tmp_path: Path) -> None:
    members = {
        "demo/bin/embeds": SharedObject(needed=("libpython3.12.so.1.0",), runpath="$ORIGIN/../lib", interpreter=True),
        "demo/lib/libpython3.12.so.1.0": SharedObject(soname="libpython3.12.so.1.0"),
        EXTENSION: SharedObject(needed=("libc.so.6",)),
    }
    assert problems(tmp_path, members) == []


@pytest.mark.parametrize("name", ["/build/lib/libshout.so", "../lib/libshout.so", "$ORIGIN/absent.so"])
def test_mw219_libraries_by_path(tmp_path: Path, name: str) -> None:
    members = {EXTENSION: SharedObject(needed=(name,), runpath="$ORIGIN"), "demo/libshout.so": SharedObject()}
    assert f"`{name}`" in the_one(problems(tmp_path, members), "MW219").message


@pytest.mark.parametrize("name", ["libshout.so", "$ORIGIN/libshout.so", "${ORIGIN}/../demo/libshout.so"])
def test_mw219_libraries_by_name_or_beside(tmp_path: Path, name: str) -> None:
    members = {EXTENSION: SharedObject(needed=(name,), runpath="$ORIGIN"), "demo/libshout.so": SharedObject()}
    assert problems(tmp_path, members) == []


def test_mw219_musl_fills_in_nothing(tmp_path: Path) -> None:
    members = {EXTENSION: SharedObject(needed=("$ORIGIN/libshout.so",)), "demo/libshout.so": SharedObject(needed=())}
    the_one(problems(tmp_path, members, tags="cp312-cp312-musllinux_1_2_x86_64"), "MW219")


# --- MW218: the stable ABI --------------------------------------------------------------------------------------------


def test_mw218_a_symbol_that_came_later(tmp_path: Path) -> None:
    wanting = {STABLE: SharedObject(symbols=loose("PyUnicode_AsUTF8AndSize", "PyList_New"))}
    found = problems(tmp_path, wanting, tags="cp39-abi3-manylinux_2_28_x86_64")
    problem = the_one(found, "MW218", member=STABLE)
    assert problem.message == (
        "needs `PyUnicode_AsUTF8AndSize` (Python 3.10), which the stable ABI of Python 3.9 does not have"
    )
    assert "0x03090000" in problem.remedy
    assert "`cp310-abi3`" in problem.remedy


@pytest.mark.parametrize("name", ["_PyObject_GetDictPtr", "PyRun_String", "PyPyList_New"])
def test_mw218_a_symbol_that_is_not_stable(tmp_path: Path, name: str) -> None:
    found = problems(tmp_path, {STABLE: SharedObject(symbols=loose(name))}, tags="cp39-abi3-manylinux_2_28_x86_64")
    assert f"`{name}`" in the_one(found, "MW218", member=STABLE).message


def test_mw218_the_oldest_tag_counts(tmp_path: Path) -> None:
    members = {STABLE: SharedObject(symbols=loose("PyUnicode_AsUTF8AndSize"))}
    found = problems(tmp_path, members, tags="cp310.cp38-abi3-musllinux_1_2_x86_64")
    assert "Python 3.8" in next(problem.message for code, problem in found if code == "MW218")


@pytest.mark.parametrize(
    ("tags", "member", "names", "weak"),
    [
        ("cp310-abi3", STABLE, ("PyUnicode_AsUTF8AndSize",), False),
        ("cp39-abi3", STABLE, ("PyUnicode_AsUTF8AndSize",), True),  # looks whether it is there
        ("cp39-abi3", STABLE, ("PyList_New", "_Py_NoneStruct", "PyExc_TypeError", "_Py_Dealloc"), False),
        ("cp39-cp39", "demo/_core.cpython-39-x86_64-linux-gnu.so", ("_PyObject_GetDictPtr",), False),
        ("cp39-abi3", STABLE, ("PyShout_New",), False),  # the wheel's own, see below
    ],
)
def test_mw218_what_the_stable_abi_has(
    tmp_path: Path,
    tags: str,
    member: str,
    names: tuple[str, ...],
    weak: bool,  # noqa: FBT001
) -> None:
    own = SharedObject(exports=("PyShout_New",))
    members = {member: SharedObject(symbols=loose(*names, weak=weak)), "demo/libshout.so": own}
    assert problems(tmp_path, members, tags=f"{tags}-manylinux_2_28_x86_64") == []


def test_mw218_another_packages_library_may_define_it(tmp_path: Path) -> None:
    """Such as libshiboken6, which the modules of PySide6 need: MW209 speaks of it already."""
    members = {STABLE: SharedObject(needed=("libshout.so.1",), symbols=loose("PyShout_New"))}
    found = problems(tmp_path, members, tags="cp39-abi3-manylinux_2_28_x86_64")
    the_one(found, "MW209", member=STABLE)
