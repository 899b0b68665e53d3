"""What the checks need to know of an ELF file: machine, libraries, run paths, symbols, and how it wants to be loaded.

Read as the loader reads it, from the program headers (System V gABI, chapter 5; LSB symbol versioning): section headers
may be missing or lie. pyelftools reads headers and dynamic tags; the symbol tables, which may have 100,000 entries, are
read here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, Final

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import NoteSegment, Segment

MAGIC: Final = b"\x7fELF"
_RUN_PATHS: Final = frozenset({"DT_RPATH", "DT_RUNPATH"})
_TEXTREL_FLAG: Final = 0x4  # DF_TEXTREL
_EXECUTABLE: Final = 0x1  # PF_X
# Where PT_GNU_STACK is missing, glibc takes the stack to be executable on these (sysdeps/*/stackinfo.h).
_EXECUTABLE_BY_DEFAULT: Final = frozenset({"EM_X86_64", "EM_386", "EM_ARM", "EM_S390"})
_WEAK: Final = 2  # STB_WEAK
_LOCAL: Final = 0  # STB_LOCAL
_HIDDEN_VERSION: Final = 0x7FFF
_ISA_NEEDED: Final = 0xC0008002  # GNU_PROPERTY_X86_ISA_1_NEEDED
_MOST_SYMBOLS: Final = 1_000_000
_LONGEST_STRINGS: Final = 64 << 20  # bytes of a string table; those of the largest libraries have half of it
# What pyelftools and struct raise on files that are damaged or made to be.
_DAMAGE: Final = (ELFError, ConstructError, struct.error, ValueError, KeyError, IndexError, TypeError, AttributeError,
                  OverflowError, AssertionError, RecursionError, MemoryError, ZeroDivisionError)  # fmt: skip


class BrokenElf(ValueError):
    """A file that begins like an ELF file and cannot be read as one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """A symbol that the file wants from elsewhere; `version` and `library` are None where it takes any."""

    name: str
    version: str | None
    library: str | None
    weak: bool

    def __str__(self) -> str:
        return f"{self.name}@{self.version}" if self.version else self.name


@dataclass(frozen=True, kw_only=True)
class Elf:
    """An ELF file's dynamic interface. `needs` maps a library to the symbol versions wanted of it (`GLIBC_2.28`).

    `run_paths` holds the entries of RPATH and RUNPATH, empty ones too. `executable_stack` is true also for a file that
    says nothing, on a machine where that is the default. `isa_level` is the x86-64 level that the property note says is
    needed: 1 is the baseline, 3 stands for x86-64-v3; 0 where it says nothing. A `program` is started, not loaded.
    """

    member: str
    machine: str
    bits: int
    little_endian: bool
    soname: str | None = None
    needed: tuple[str, ...] = ()
    run_paths: tuple[str, ...] = ()
    needs: Mapping[str, frozenset[str]]
    imports: tuple[Import, ...] = ()
    exports: frozenset[str] = frozenset()
    executable_stack: bool = False
    text_relocations: bool = False
    isa_level: int = 0
    program: bool = False

    @property
    def unversioned(self) -> tuple[str, ...]:
        """The symbols that must be found when the file is loaded, by their names alone: neither weak nor versioned."""
        return tuple(symbol.name for symbol in self.imports if symbol.version is None and not symbol.weak)

    def highest(self, prefix: str) -> tuple[int, ...] | None:
        """Return the highest version needed of a family such as `GLIBC`, as numbers; None where none is needed."""
        versions = (parse_symbol_version(version) for wanted in self.needs.values() for version in wanted)
        return max((parsed[1] for parsed in versions if parsed and parsed[0] == prefix), default=None)

    def wanting(self, versions: frozenset[str]) -> tuple[str, ...]:
        """Return the symbols that want one of these versions, as `close_range@GLIBC_2.34`, sorted."""
        return tuple(sorted(str(symbol) for symbol in self.imports if symbol.version in versions))


def parse_symbol_version(version: str) -> tuple[str, tuple[int, ...]] | None:
    """Split `GLIBC_2.17` into `("GLIBC", (2, 17))`; None for versions without numbers, as `GLIBC_PRIVATE`."""
    family, _, numbers = version.partition("_")
    try:
        return family, tuple(int(number) for number in numbers.split("."))
    except ValueError:
        return None


def read_elf(member: str, stream: IO[bytes]) -> Elf | None:
    """Read one ELF file from a stream that can seek; None where the loader has no part in it (an object file).

    Raises BrokenElf where it cannot be read.
    """
    try:
        file = ELFFile(stream)
        segments = list(file.iter_segments())  # once: pyelftools makes them anew each time it is asked
        dynamic = next((segment for segment in segments if isinstance(segment, DynamicSegment)), None)
        if dynamic is None:
            return None
        return _Reader(file, segments, dynamic).read(member)
    except _DAMAGE as error:
        raise BrokenElf(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__) from None


class _Reader:
    def __init__(self, file: ELFFile, segments: list[Segment], dynamic: DynamicSegment) -> None:
        self.segments = segments
        self.file, self.stream = file, file.stream
        self.order = "<" if file.little_endian else ">"
        self.size = self.stream.seek(0, 2)
        self.tags: list[Any] = list(dynamic.iter_tags())
        self.strings = self._strings()
        self.symbol_count = min(dynamic.num_symbols(), _MOST_SYMBOLS) if self._address("DT_SYMTAB") else 0

    def read(self, member: str) -> Elf:
        needed = tuple(self._string(tag.entry.d_val) for tag in self.tags if tag.entry.d_tag == "DT_NEEDED")
        needs, versions = self._needed_versions()
        imports, exports = self._symbols(versions)
        flags = next((tag.entry.d_val for tag in self.tags if tag.entry.d_tag == "DT_FLAGS"), 0)
        soname = next((self._string(tag.entry.d_val) for tag in self.tags if tag.entry.d_tag == "DT_SONAME"), None)
        return Elf(
            member=member,
            machine=self.file.header.e_machine,
            bits=self.file.elfclass,
            little_endian=self.file.little_endian,
            soname=soname,
            needed=needed,
            run_paths=tuple(self._run_paths()),
            needs=needs,
            imports=imports,
            exports=exports,
            executable_stack=self._has_executable_stack(),
            text_relocations=bool(flags & _TEXTREL_FLAG) or any(tag.entry.d_tag == "DT_TEXTREL" for tag in self.tags),
            isa_level=self._isa_level(),
            # Libraries may have an interpreter too, those that say something when they are started.
            program=soname is None and any(self._segments("PT_INTERP")),
        )

    def _segments(self, kind: str) -> Iterator[Segment]:
        return (segment for segment in self.segments if segment.header.p_type == kind)

    def _address(self, name: str) -> int | None:
        return next((int(tag.entry.d_val) for tag in self.tags if tag.entry.d_tag == name), None)

    def _offset(self, address: int) -> int:
        offset = next(iter(self.file.address_offsets(address)), None)
        if offset is None or not 0 <= offset <= self.size:
            raise BrokenElf(f"address {address:#x} is not in the file")
        return int(offset)

    def _bytes(self, offset: int, count: int) -> bytes:
        self.stream.seek(offset)
        content: bytes = self.stream.read(min(count, self.size))
        return content

    def _strings(self) -> bytes:
        address, size = self._address("DT_STRTAB"), self._address("DT_STRSZ")
        if size and size > _LONGEST_STRINGS:
            raise BrokenElf(f"its string table of {size} bytes is too long")
        return self._bytes(self._offset(address), size) if address is not None and size else b""

    def _string(self, offset: int) -> str:
        end = self.strings.find(b"\0", offset)
        return self.strings[offset : end if end >= 0 else None].decode("utf-8", "replace")

    def _run_paths(self) -> Iterator[str]:
        for tag in self.tags:
            if tag.entry.d_tag in _RUN_PATHS and (paths := self._string(tag.entry.d_val)):
                yield from paths.split(":")

    def _needed_versions(self) -> tuple[dict[str, frozenset[str]], dict[int, tuple[str, str]]]:
        """Read DT_VERNEED: the versions by library, and each version's number in DT_VERSYM with its library."""
        needs: dict[str, set[str]] = {}
        numbers: dict[int, tuple[str, str]] = {}
        address, count = self._address("DT_VERNEED"), self._address("DT_VERNEEDNUM") or 0
        offset = self._offset(address) if address is not None else 0
        for _ in range(min(count, self.size // 16)):
            _, auxiliaries, file, first, following = struct.unpack(f"{self.order}HHIII", self._bytes(offset, 16))
            library, place = self._string(file), offset + first
            for _ in range(auxiliaries):
                _, _, number, name, step = struct.unpack(f"{self.order}IHHII", self._bytes(place, 16))
                needs.setdefault(library, set()).add(self._string(name))
                numbers[number & _HIDDEN_VERSION] = (library, self._string(name))
                if not step:
                    break
                place += step
            if not following:
                break
            offset += following
        return {library: frozenset(versions) for library, versions in needs.items()}, numbers

    def _symbols(self, versions: Mapping[int, tuple[str, str]]) -> tuple[tuple[Import, ...], frozenset[str]]:
        """Read the dynamic symbols: those wanted from elsewhere, and the names of those defined here."""
        address = self._address("DT_SYMTAB")
        if address is None or not self.symbol_count:
            return (), frozenset()
        wide = self.file.elfclass == 64  # noqa: PLR2004
        entry = struct.Struct(f"{self.order}IBBHQQ" if wide else f"{self.order}IIIBBH")
        content = self._bytes(self._offset(address), self.symbol_count * entry.size)
        numbers = self._version_numbers(len(content) // entry.size)
        imports, exports = [], set()
        usable = content[: len(content) // entry.size * entry.size]
        for fields, number in zip(entry.iter_unpack(usable), numbers, strict=True):
            name, info, section = (fields[0], fields[1], fields[3]) if wide else (fields[0], fields[3], fields[5])
            if not name or info >> 4 == _LOCAL:
                continue
            if section:
                exports.add(self._string(name))
                continue
            library, version = versions.get(number & _HIDDEN_VERSION, (None, None))
            imports.append(Import(name=self._string(name), version=version, library=library, weak=info >> 4 == _WEAK))
        return tuple(imports), frozenset(exports)

    def _version_numbers(self, count: int) -> tuple[int, ...]:
        address = self._address("DT_VERSYM")
        if address is None:
            return (0,) * count
        return struct.unpack(f"{self.order}{count}H", self._bytes(self._offset(address), 2 * count))

    def _has_executable_stack(self) -> bool:
        stack = next(self._segments("PT_GNU_STACK"), None)
        if stack is None:
            return self.file.header.e_machine in _EXECUTABLE_BY_DEFAULT
        return bool(stack.header.p_flags & _EXECUTABLE)

    def _isa_level(self) -> int:
        """Return the level in the property note (x86-64 psABI, "Program Property")."""
        needed = 0
        for segment in self._segments("PT_NOTE"):
            for note in segment.iter_notes() if isinstance(segment, NoteSegment) else ():
                if note["n_type"] != "NT_GNU_PROPERTY_TYPE_0":
                    continue
                for prop in note["n_desc"]:
                    if prop["pr_type"] in {"GNU_PROPERTY_X86_ISA_1_NEEDED", _ISA_NEEDED}:
                        data = prop["pr_data"]
                        needed |= data if isinstance(data, int) else int.from_bytes(data[:4], "little")
        return needed.bit_length()
