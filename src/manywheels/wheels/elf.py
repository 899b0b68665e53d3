"""What the checks need of an ELF file.

Read from the program headers, as the loader does (System V gABI, chapters 4 and 5; LSB symbol versioning): section
headers may be missing or wrong. Files may be hostile: everything counted or kept has a limit.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import repeat
from typing import IO, Final, NamedTuple

MAGIC: Final = b"\x7fELF"
HEAD: Final = 20  # bytes: e_ident, e_type and e_machine
RELOCATABLE: Final = 1  # ET_REL: an object file, which no loader reads
# Code for devices: a driver loads it on any platform.
DEVICES: Final = frozenset({"EM_AMDGPU", "EM_BPF", "EM_CUDA", "EM_INTELGT"})
# Without PT_GNU_STACK, glibc makes the stack executable on these (sysdeps/*/stackinfo.h).
_EXECUTABLE_BY_DEFAULT: Final = frozenset({"EM_X86_64", "EM_386", "EM_ARM", "EM_S390"})
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP, _PT_NOTE, _PT_GNU_STACK = 1, 2, 3, 4, 0x6474E551
_DT_NEEDED, _DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ, _DT_SONAME, _DT_RPATH = 1, 4, 5, 6, 10, 14, 15
_DT_TEXTREL, _DT_RUNPATH, _DT_FLAGS = 22, 29, 30
_DT_RELA, _DT_RELASZ, _DT_REL, _DT_RELSZ, _DT_JMPREL, _DT_PLTRELSZ, _DT_PLTREL = 7, 8, 17, 18, 23, 2, 20
_DT_GNU_HASH, _DT_VERSYM, _DT_VERNEED = 0x6FFFFEF5, 0x6FFFFFF0, 0x6FFFFFFE
_DF_TEXTREL: Final = 0x4
_PF_X, _PF_W = 0x1, 0x2
_NO_RELOCATION: Final = 0  # R_X86_64_NONE, R_RISCV_NONE and so on
_STB_LOCAL, _STB_WEAK = 0, 2
_HIDDEN_VERSION: Final = 0x7FFF
_NT_GNU_PROPERTY_TYPE_0: Final = 5
_ISA_NEEDED: Final = 0xC0008002  # GNU_PROPERTY_X86_ISA_1_NEEDED

_MOST_SEGMENTS: Final = 1170  # 64 KiB of program headers, the kernel's limit
_MOST_TAGS: Final = 10_000  # in the dynamic section; large libraries have 200
_MOST_RUN_PATHS: Final = 1_000
_MOST_VERSIONS: Final = 10_000  # of all libraries together
_MOST_SYMBOLS: Final = 1_000_000
_LONGEST_NAMES: Final = 4 << 10  # bytes of a library, path or version: PATH_MAX
_LONGEST_SYMBOL: Final = 64 << 10  # C++ has long ones
_LONGEST_STRINGS: Final = 64 << 20  # bytes of a string table, twice those of the largest libraries
_LONGEST_NOTES: Final = 64 << 10
_MOST_KEPT: Final = 128 << 20  # bytes of names, in all files of a wheel
_MOST_ENTRIES: Final = 4_000_000  # of tables, in all files of a wheel
_CHAIN: Final = 1 << 10  # hashes per read; real chains have a few
_OBJECT: Final = 64  # bytes of a Python string besides its characters


class BrokenElf(ValueError):
    """A file starts like an ELF file, but cannot be read as one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """An undefined symbol; `version` is None if it has none."""

    name: str
    version: str | None
    weak: bool

    def __str__(self) -> str:
        return f"{self.name}@{self.version}" if self.version else self.name


@dataclass(frozen=True, kw_only=True)
class Elf:
    """An ELF file's dynamic interface. `needs`: the versions needed of each library (`GLIBC_2.28`).

    `run_paths`: entries of RPATH and RUNPATH, empty ones too. With `inherits`, they serve also the libraries that it
    loads: RPATH without RUNPATH. `executable_stack`: also without PT_GNU_STACK where that is the default.
    `text_relocations`: relocations in a segment that is not writable. `isa_level`: x86-64 level in the property note, 1
    is the baseline, 0 no note. A `program` is started, not loaded, by its `interpreter`.
    """

    member: str
    machine: str
    bits: int
    little_endian: bool
    soname: str | None = None
    needed: tuple[str, ...] = ()
    run_paths: tuple[str, ...] = ()
    inherits: bool = False
    needs: Mapping[str, frozenset[str]]
    imports: tuple[Import, ...] = ()
    exports: frozenset[str] = frozenset()
    executable_stack: bool = False
    text_relocations: bool = False
    isa_level: int = 0
    program: bool = False
    interpreter: str | None = None

    @property
    def unversioned(self) -> tuple[str, ...]:
        """Undefined symbols, neither weak nor versioned."""
        return tuple(symbol.name for symbol in self.imports if symbol.version is None and not symbol.weak)

    def highest(self, prefix: str) -> tuple[int, ...] | None:
        """Return the highest version needed of a family such as `GLIBC`; None if none is."""
        versions = (parse_symbol_version(version) for wanted in self.needs.values() for version in wanted)
        return max((parsed[1] for parsed in versions if parsed and parsed[0] == prefix), default=None)

    def wanting(self, versions: frozenset[str]) -> tuple[str, ...]:
        """Return the symbols that need one of these versions, as `close_range@GLIBC_2.34`, sorted."""
        return tuple(sorted(str(symbol) for symbol in self.imports if symbol.version in versions))


def parse_symbol_version(version: str) -> tuple[str, tuple[int, ...]] | None:
    """Split `GLIBC_2.17` into `("GLIBC", (2, 17))`; None without numbers, as `GLIBC_PRIVATE`."""
    family, _, numbers = version.partition("_")
    try:
        return family, tuple(int(number) for number in numbers.split("."))
    except ValueError:
        return None


@dataclass(kw_only=True)
class NameBudget:
    """How many bytes of names and table entries may still be read in a wheel's files."""

    names: int = field(default_factory=lambda: _MOST_KEPT)
    entries: int = field(default_factory=lambda: _MOST_ENTRIES)

    def take(self, length: int) -> None:
        """Raises BrokenElf above the limit."""
        self.names -= length + _OBJECT
        if self.names < 0:
            raise BrokenElf("the names in the wheel's ELF files are too many to be read")

    def look(self, count: int) -> None:
        """Raises BrokenElf above the limit."""
        self.entries -= count
        if self.entries < 0:
            raise BrokenElf("the symbols in the wheel's ELF files are too many to be read")


class Header(NamedTuple):
    """A file's first 20 bytes: the machine's gABI name, word size, byte order, e_type."""

    machine: str
    bits: int
    little_endian: bool
    kind: int


def read_header(head: bytes) -> Header:
    """Raises BrokenElf."""
    if len(head) < HEAD or not head.startswith(MAGIC) or head[4] not in {1, 2} or head[5] not in {1, 2}:
        raise BrokenElf("its header is not an ELF header")
    little_endian = head[5] == 1
    kind, machine = struct.unpack("<HH" if little_endian else ">HH", head[16:HEAD])
    name = _machines().get(machine, f"machine {machine}")
    return Header(machine=name, bits=32 * head[4], little_endian=little_endian, kind=kind)


@cache
def _machines() -> Mapping[int, str]:
    from elftools.elf.enums import ENUM_E_MACHINE

    return {number: name for name, number in ENUM_E_MACHINE.items() if isinstance(number, int)}


def read_elf(member: str, stream: IO[bytes], budget: NameBudget | None = None) -> Elf | None:
    """Read an ELF file from a seekable stream; None if the dynamic loader does not load it.

    That is: object files, static programs, code for devices. Raises BrokenElf if unreadable or beyond the limits.
    """
    try:
        stream.seek(0)
        header = read_header(stream.read(HEAD))
        if header.kind == RELOCATABLE or header.machine in DEVICES:
            return None
        return _Reader(header, stream, budget or NameBudget()).read(member)
    except (struct.error, OverflowError, UnicodeError) as error:
        raise BrokenElf(f"its headers point outside of the file: {error}") from None


class _Segment(NamedTuple):
    kind: int
    flags: int
    offset: int
    address: int
    size: int
    alignment: int


class _Reader:
    def __init__(self, header: Header, stream: IO[bytes], budget: NameBudget) -> None:
        self.header, self.stream, self.budget = header, stream, budget
        self.wide = header.bits == 64  # noqa: PLR2004
        self.order = "<" if header.little_endian else ">"
        self.size = stream.seek(0, 2)
        self.segments = tuple(self._read_segments())

    def read(self, member: str) -> Elf | None:
        dynamic = next((segment for segment in self.segments if segment.kind == _PT_DYNAMIC), None)
        if dynamic is None or (not dynamic.size and self._find(dynamic.address) is None):
            return None  # the latter is the debug information of another file
        self.tags = tuple(self._read_tags(dynamic))
        self.values = dict(self.tags)  # of two, loaders use the last
        self.strings = self._read_strings()
        needs, versions = self._needed_versions()
        imports, exports = self._symbols(versions)
        soname = self._name(self.values[_DT_SONAME]) if _DT_SONAME in self.values else None
        interpreter = self._interpreter()
        return Elf(
            member=member,
            machine=self.header.machine,
            bits=self.header.bits,
            little_endian=self.header.little_endian,
            soname=soname,
            needed=tuple(self._name(value) for tag, value in self.tags if tag == _DT_NEEDED),
            run_paths=self._run_paths(),
            inherits=_DT_RPATH in self.values and _DT_RUNPATH not in self.values,
            needs=needs,
            imports=imports,
            exports=exports,
            executable_stack=self._has_executable_stack(),
            text_relocations=self._has_text_relocations(),
            isa_level=self._isa_level(),
            # Some libraries have an interpreter too: they print something when started.
            program=soname is None and interpreter is not None,
            interpreter=interpreter,
        )

    # --- headers ---

    def _bytes(self, offset: int, count: int) -> bytes:
        if not 0 <= offset <= self.size:
            raise BrokenElf(f"offset {offset:#x} is not in the file")
        self.stream.seek(offset)
        return self.stream.read(min(count, self.size - offset))

    def _unpack(self, form: str, offset: int) -> tuple[int, ...]:
        return struct.unpack(self.order + form, self._bytes(offset, struct.calcsize(self.order + form)))

    def _read_segments(self) -> Iterator[_Segment]:
        fields = self._unpack("QQQIHHH" if self.wide else "IIIIHHH", 24)
        start, size, count = fields[1], fields[5], fields[6]
        form = struct.Struct(self.order + ("IIQQQQQQ" if self.wide else "IIIIIIII"))
        if count > _MOST_SEGMENTS or (count and size != form.size):
            raise BrokenElf(f"no loader accepts its {count} program headers of {size} bytes")
        self.budget.look(count)
        content = self._bytes(start, count * size) if count else b""
        if len(content) < count * size:
            raise BrokenElf("its program headers are truncated")
        for entry in form.iter_unpack(content):
            kind, flags, offset, address, _, length, _, alignment = entry
            if not self.wide:
                kind, offset, address, _, length, _, flags, alignment = entry
            yield _Segment(kind, flags, offset, address, length, alignment)

    def _find(self, address: int) -> int | None:
        for segment in self.segments:
            if segment.kind == _PT_LOAD and segment.address <= address < segment.address + segment.size:
                return address - segment.address + segment.offset
        return None

    def _offset(self, address: int) -> int:
        offset = self._find(address)
        if offset is None:
            raise BrokenElf(f"address {address:#x} is not in the file")
        return offset

    def _read_tags(self, dynamic: _Segment) -> Iterator[tuple[int, int]]:
        entry = struct.Struct(self.order + ("QQ" if self.wide else "II"))
        content = self._bytes(self._offset(dynamic.address), (_MOST_TAGS + 1) * entry.size)
        for number, (tag, value) in enumerate(entry.iter_unpack(content[: len(content) // entry.size * entry.size])):
            if tag == 0:
                return
            if number >= _MOST_TAGS:
                raise BrokenElf(f"its dynamic section has more than {_MOST_TAGS} entries")
            self.budget.look(1)
            yield tag, value
        raise BrokenElf("its dynamic section has no end")

    # --- names ---

    def _read_strings(self) -> bytes:
        size = self.values.get(_DT_STRSZ, 0)
        if size > _LONGEST_STRINGS:
            raise BrokenElf(f"its string table of {size} bytes is too long")
        return self._bytes(self._offset(self.values[_DT_STRTAB]), size) if size and _DT_STRTAB in self.values else b""

    def _name(self, offset: int, longest: int = _LONGEST_NAMES) -> str:
        if offset > len(self.strings):
            raise BrokenElf("a name is not in its string table")
        end = self.strings.find(b"\0", offset, offset + longest + 1)
        if end < 0 and len(self.strings) - offset > longest:
            raise BrokenElf(f"a name in it is longer than {longest} bytes")
        text = self.strings[offset : end if end >= 0 else None]
        self.budget.take(len(text))
        return text.decode("utf-8", "replace")

    def _run_paths(self) -> tuple[str, ...]:
        texts = [self._name(value) for tag, value in self.tags if tag in {_DT_RPATH, _DT_RUNPATH}]
        if sum(text.count(":") + 1 for text in texts) > _MOST_RUN_PATHS:
            raise BrokenElf(f"it has more than {_MOST_RUN_PATHS} run paths")
        return tuple(path for text in texts if text for path in text.split(":"))

    # --- symbols ---

    def _needed_versions(self) -> tuple[dict[str, frozenset[str]], dict[int, str]]:
        """Read DT_VERNEED: versions by library, and by their number in DT_VERSYM."""
        needs: dict[str, set[str]] = {}
        numbers: dict[int, str] = {}
        for count, (library, number, version) in enumerate(self._version_entries()):
            if count >= _MOST_VERSIONS:
                raise BrokenElf(f"it needs more than {_MOST_VERSIONS} versions")
            self.budget.look(1)
            needs.setdefault(library, set()).add(version)
            numbers[number & _HIDDEN_VERSION] = version
        return {library: frozenset(versions) for library, versions in needs.items()}, numbers

    def _version_entries(self) -> Iterator[tuple[str, int, str]]:
        """Yield library, number and version, following the links as glibc does; they may loop."""
        offset = self._offset(self.values[_DT_VERNEED]) if _DT_VERNEED in self.values else None
        while offset is not None:
            _, _, file, first, following = self._unpack("HHIII", offset)
            library, place, step = self._name(file), offset + first, 1
            while step:
                _, _, number, name, step = self._unpack("IHHII", place)
                yield library, number, self._name(name)
                place += step
            offset = offset + following if following else None

    def _symbols(self, versions: Mapping[int, str]) -> tuple[tuple[Import, ...], frozenset[str]]:
        entry = struct.Struct(self.order + ("IBBHQQ" if self.wide else "IIIBBH"))
        count = self._symbol_count(entry.size) if _DT_SYMTAB in self.values else 0
        if not count:
            return (), frozenset()
        if count > _MOST_SYMBOLS:
            raise BrokenElf(f"it has {count} symbols, too many to be read")
        content = self._bytes(self._offset(self.values[_DT_SYMTAB]), count * entry.size)
        count = len(content) // entry.size
        self.budget.look(count)
        imports, exports = [], set()
        for fields, number in zip(
            entry.iter_unpack(content[: count * entry.size]), self._version_numbers(count), strict=True
        ):
            name, info, section = (fields[0], fields[1], fields[3]) if self.wide else (fields[0], fields[3], fields[5])
            if not name or info >> 4 == _STB_LOCAL:
                continue
            text = self._name(name, _LONGEST_SYMBOL)
            if section:
                exports.add(text)
            else:
                version = versions.get(number & _HIDDEN_VERSION)
                imports.append(Import(name=text, version=version, weak=info >> 4 == _STB_WEAK))
        return tuple(imports), frozenset(exports)

    def _symbol_count(self, entry_size: int) -> int:
        """Count by the hash tables, else by where the next table starts."""
        counted = self._count_gnu_hash() or self._count_hash()
        if counted:
            return counted
        table = self.values[_DT_SYMTAB]
        tables = (_DT_STRTAB, _DT_HASH, _DT_GNU_HASH, _DT_VERSYM, _DT_VERNEED)
        following = [self.values[tag] for tag in tables if self.values.get(tag, 0) > table]
        return (min(following) - table) // entry_size if following else 0

    def _count_hash(self) -> int:
        if _DT_HASH not in self.values:
            return 0
        wide = self.wide and self.header.machine in {"EM_S390", "EM_ALPHA"}  # glibc: Elf_Symndx
        return self._unpack("QQ" if wide else "II", self._offset(self.values[_DT_HASH]))[1]

    def _count_gnu_hash(self) -> int:
        """Return the end of the last bucket's chain, else 0."""
        if _DT_GNU_HASH not in self.values:
            return 0
        offset = self._offset(self.values[_DT_GNU_HASH])
        buckets, first, bloom, _ = self._unpack("IIII", offset)
        if max(buckets, bloom) > _MOST_SYMBOLS:
            raise BrokenElf("its hash table is too large to be read")
        offset += 16 + bloom * self.header.bits // 8
        self.budget.look(buckets)
        last = max(self._words(offset, buckets), default=0)
        if last < first or not last:
            return 0
        return last + self._chain_length(offset + 4 * (buckets + last - first))

    def _chain_length(self, offset: int) -> int:
        for place in range(0, _MOST_SYMBOLS, _CHAIN):
            words = self._words(offset + 4 * place, _CHAIN)
            self.budget.look(len(words))
            length = next((place + number + 1 for number, word in enumerate(words) if word & 1), 0)
            if length:
                return length
            if len(words) < _CHAIN:
                break
        return _MOST_SYMBOLS + 1

    def _words(self, offset: int, count: int) -> array[int]:
        content = self._bytes(offset, 4 * count)
        words = array("I", content[: len(content) // 4 * 4])
        if self.header.little_endian != (sys.byteorder == "little"):
            words.byteswap()
        return words

    def _version_numbers(self, count: int) -> Iterator[int]:
        if _DT_VERSYM not in self.values:
            return repeat(0, count)
        content = self._bytes(self._offset(self.values[_DT_VERSYM]), 2 * count)
        if len(content) < 2 * count:
            raise BrokenElf("its table of symbol versions is truncated")
        return (number for (number,) in struct.iter_unpack(self.order + "H", content))

    # --- how it is loaded ---

    def _has_executable_stack(self) -> bool:
        stack = next((segment for segment in self.segments if segment.kind == _PT_GNU_STACK), None)
        return bool(stack.flags & _PF_X) if stack else self.header.machine in _EXECUTABLE_BY_DEFAULT

    def _interpreter(self) -> str | None:
        segment = next((segment for segment in self.segments if segment.kind == _PT_INTERP), None)
        if segment is None:
            return None
        return self._bytes(segment.offset, min(segment.size, _LONGEST_NAMES)).split(b"\0")[0].decode("utf-8", "replace")

    def _has_text_relocations(self) -> bool:
        """Return whether the flag is set for a relocation that does something.

        Linkers for RISC-V set it also for those of type NONE, which they leave where they relax code.
        """
        if _DT_TEXTREL not in self.values and not self.values.get(_DT_FLAGS, 0) & _DF_TEXTREL:
            return False
        read_only = [segment for segment in self.segments if segment.kind == _PT_LOAD and not segment.flags & _PF_W]
        seen = False
        for address, kind in self._relocations():
            seen = True
            if kind != _NO_RELOCATION and any(0 <= address - one.address < one.size for one in read_only):
                return True
        return not seen  # they are in a table that is not read here

    def _relocations(self) -> Iterator[tuple[int, int]]:
        """Yield address and type of each relocation in the tables REL, RELA and JMPREL."""
        tables = ((_DT_RELA, _DT_RELASZ, True), (_DT_REL, _DT_RELSZ, False),
                  (_DT_JMPREL, _DT_PLTRELSZ, self.values.get(_DT_PLTREL) == _DT_RELA))  # fmt: skip
        for start, length, addend in tables:
            if start not in self.values or not self.values.get(length):
                continue
            entry = struct.Struct(self.order + ("QQ" if self.wide else "II") + ("q" if self.wide else "i") * addend)
            count = self.values[length] // entry.size
            self.budget.look(count)
            content = self._bytes(self._offset(self.values[start]), count * entry.size)
            for address, info, *_ in entry.iter_unpack(content[: len(content) // entry.size * entry.size]):
                yield address, info & (0xFFFFFFFF if self.wide else 0xFF)

    def _isa_level(self) -> int:
        """Return the level in the property note (x86-64 psABI, "Program Property"), else 0."""
        needed, left = 0, _LONGEST_NOTES
        for segment in self.segments:
            if segment.kind == _PT_NOTE and left > 0:
                content = self._bytes(segment.offset, min(segment.size, left))
                left -= len(content)
                for kind, value in self._properties(content, 8 if segment.alignment == 8 else 4):  # noqa: PLR2004
                    needed |= value if kind == _ISA_NEEDED else 0
        return needed.bit_length()

    def _properties(self, content: bytes, alignment: int) -> Iterator[tuple[int, int]]:
        """Yield type and first four bytes of each property in the notes."""
        place = 0
        while place + 12 <= len(content):
            name_size, size, kind = struct.unpack_from(self.order + "III", content, place)
            start = _aligned(place + 12 + name_size, alignment)
            name, place = content[place + 12 : place + 12 + name_size], _aligned(start + size, alignment)
            if kind == _NT_GNU_PROPERTY_TYPE_0 and name == b"GNU\0":
                described = content[start : start + size]
                while len(described) >= 12:  # noqa: PLR2004 - type, size, and four bytes
                    kind, length, value = struct.unpack_from(self.order + "III", described)
                    yield kind, value
                    described = described[_aligned(8 + length, self.header.bits // 8) :]


def _aligned(place: int, alignment: int) -> int:
    return -(-place // alignment) * alignment
