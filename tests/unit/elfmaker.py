"""A small ELF64 writer: just as much of a shared object as the checks read, made without a compiler.

The layout follows the System V gABI, chapters 4 and 5, and the LSB's symbol versioning. Addresses equal file offsets.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import groupby
from typing import Final

X86_64: Final = 62
AARCH64: Final = 183
RISCV64: Final = 243
PPC64: Final = 21

_SYMBOL = "<IBBHQQ"
_WEAK_FUNCTION, _FUNCTION = 0x22, 0x12
_DF_TEXTREL = 4
_RELOCATION = "<QQq"
_STACKS = {"rw": 6, "rwx": 7}
_DT = {"NEEDED": 1, "HASH": 4, "STRTAB": 5, "SYMTAB": 6, "STRSZ": 10, "SYMENT": 11,
       "RELA": 7, "RELASZ": 8, "RELAENT": 9, "SONAME": 14, "RPATH": 15,
       "TEXTREL": 22, "RUNPATH": 29, "FLAGS": 30, "VERSYM": 0x6FFFFFF0, "VERNEED": 0x6FFFFFFE,
       "VERNEEDNUM": 0x6FFFFFFF}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Symbol:
    """An undefined symbol with the version it wants of a library; without a name, the file wants the version only."""

    name: str
    version: str | None
    library: str = "libc.so.6"
    weak: bool = False


@dataclass(frozen=True, kw_only=True)
class SharedObject:
    """A shared object to write. `sections` is false for a file whose section headers were stripped.

    `exports` are functions that it defines. `stack` is `rw`, `rwx`, or None where it says nothing. `text_relocations`
    is the tag that says so, `TEXTREL` or `FLAGS`. `relocations` are addresses and types: what is in the file is read
    only. `interpreter` is the loader of a program, True that of glibc on x86_64. `isa_needed` holds the bits of the
    property note: 4 for x86-64-v3.
    """

    machine: int = X86_64
    big_endian: bool = False
    needed: tuple[str, ...] = ("libc.so.6",)
    soname: str | None = None
    rpath: str | None = None
    runpath: str | None = None
    symbols: tuple[Symbol, ...] = ()
    exports: tuple[str, ...] = ()
    stack: str | None = "rw"
    text_relocations: str | None = None
    isa_needed: int = 0
    relocations: tuple[tuple[int, int], ...] = ()
    interpreter: bool | str = False
    dynamic: bool = True
    sections: bool = True

    def to_bytes(self) -> bytes:
        """Return the file."""
        return _Writer(self).write()


@dataclass(frozen=True, kw_only=True)
class _Section:
    name: str
    kind: int
    content: bytes
    link: str = ""
    info: int = 0
    entry_size: int = 0


class _Strings:
    """A string table: each string once."""

    def __init__(self) -> None:
        self.content = b"\0"

    def place(self, text: str) -> int:
        encoded = text.encode() + b"\0"
        if b"\0" + encoded not in self.content:
            self.content += encoded
        return self.content.index(b"\0" + encoded) + 1


class _Writer:
    def __init__(self, wanted: SharedObject) -> None:
        self._wanted = wanted
        self._strings = _Strings()
        # one entry for each library in turn: a library that comes up again gets another, as no linker would do it
        versioned = [(symbol, symbol.version) for symbol in wanted.symbols if symbol.version is not None]
        self._needs = [(library, list(group)) for library, group in groupby(versioned, lambda one: one[0].library)]
        self._interpreter = wanted.interpreter if isinstance(wanted.interpreter, str) else "/lib64/ld-linux-x86-64.so.2"
        self._headers = 2 + sum([wanted.stack is not None, bool(wanted.isa_needed), bool(wanted.interpreter)])
        self._start = 64 + 56 * self._headers

    def write(self) -> bytes:
        sections = self._sections()
        body, offsets = self._place(sections)
        total = self._start + len(body)
        headers = self._section_headers(sections, offsets, total) if self._wanted.sections else b""
        count = len(sections) + 2 if headers else 0
        identification = b"\x7fELF" + bytes([2, 2 if self._wanted.big_endian else 1, 1]) + bytes(9)
        header = identification + self._pack(
            "<HHIQQQIHHHHHH", 3, self._wanted.machine, 1, 0, 64, total if headers else 0, 0, 64, 56, self._headers, 64,
            count, count - 1 if headers else 0,
        )  # fmt: skip
        return header + self._program_headers(offsets, total) + body + headers

    def _program_headers(self, offsets: dict[str, tuple[int, int]], total: int) -> bytes:
        dynamic = 2 if ".dynamic" in offsets else 0
        found = [(1, 4, (0, total), 4096), (dynamic, 4, offsets.get(".dynamic", (0, 0)), 8)]
        if self._wanted.stack is not None:
            found.append((0x6474E551, _STACKS[self._wanted.stack], (0, 0), 16))
        found += [(kind, 4, offsets[name], 8) for name, kind in ((".note", 4), (".interp", 3)) if name in offsets]
        return b"".join(
            self._pack("<IIQQQQQQ", kind, flags, start, start, start, size, size, alignment)
            for kind, flags, (start, size), alignment in found
        )

    def _pack(self, form: str, *values: int) -> bytes:
        return struct.pack(form.replace("<", ">") if self._wanted.big_endian else form, *values)

    def _sections(self) -> list[_Section]:
        versions = self._version_needs()
        symbols, numbers = self._symbols()
        entries = self._dynamic_strings()
        chain = self._pack("<IIII", 1, len(symbols) // 24, 0, 0) + bytes(4 * (len(symbols) // 24 - 1))
        found = [
            _Section(name=".dynstr", kind=3, content=self._strings.content),
            _Section(name=".dynsym", kind=11, content=symbols, link=".dynstr", info=1, entry_size=24),
            _Section(name=".gnu.version", kind=0x6FFFFFFF, content=numbers, link=".dynsym", entry_size=2),
        ]
        if self._needs:
            found.append(_Section(name=".gnu.version_r", kind=0x6FFFFFFE, content=versions, link=".dynstr",
                                  info=len(self._needs)))  # fmt: skip
        if self._wanted.relocations:
            content = b"".join(self._pack(_RELOCATION, address, kind, 0) for address, kind in self._wanted.relocations)
            found.append(_Section(name=".rela.dyn", kind=4, content=content, link=".dynsym", entry_size=24))
        found.append(_Section(name=".hash", kind=5, content=chain, link=".dynsym", entry_size=4))
        if self._wanted.dynamic:
            # The addresses are not known before the sections are placed: entries are of equal size, so leave room.
            room = bytes(16 * (len(entries) + 13))
            found.append(_Section(name=".dynamic", kind=6, content=room, link=".dynstr", entry_size=16))
        if self._wanted.isa_needed:
            property_ = self._pack("<IIII", 0xC0008002, 4, self._wanted.isa_needed, 0)
            note = self._pack("<III", 4, len(property_), 5) + b"GNU\0" + property_
            found.append(_Section(name=".note", kind=7, content=note))
        if self._wanted.interpreter:
            found.append(_Section(name=".interp", kind=1, content=f"{self._interpreter}\0".encode()))
        return found

    def _version_needs(self) -> bytes:
        content = b""
        for position, (library, symbols) in enumerate(self._needs):
            versions = list(dict.fromkeys(version for _, version in symbols))
            last = position == len(self._needs) - 1
            content += self._pack(
                "<HHIII", 1, len(versions), self._strings.place(library), 16, 0 if last else 16 + 16 * len(versions)
            )
            for place, version in enumerate(versions):
                number = self._number(position, version)
                name = self._strings.place(version)
                content += self._pack("<IHHII", 0, 0, number, name, 16 * (place < len(versions) - 1))
        return content

    def _number(self, position: int, version: str) -> int:
        """Return a version's index in .gnu.version: 0 and 1 are taken."""
        known = [(index, wanted) for index, (_, group) in enumerate(self._needs) for _, wanted in group]
        return list(dict.fromkeys(known)).index((position, version)) + 2

    def _symbols(self) -> tuple[bytes, bytes]:
        found = [
            (one.name, _WEAK_FUNCTION if one.weak else _FUNCTION, 0, self._number(position, version))
            for position, (_, group) in enumerate(self._needs)
            for one, version in group
            if one.name
        ]
        loose = [one for one in self._wanted.symbols if one.version is None]
        found += [(one.name, _WEAK_FUNCTION if one.weak else _FUNCTION, 0, 1) for one in loose]
        found += [(name, _FUNCTION, 1, 1) for name in self._wanted.exports]
        symbols, numbers = bytes(24), self._pack("<H", 0)
        for name, info, section, number in found:
            symbols += self._pack(_SYMBOL, self._strings.place(name), info, 0, section, 0, 0)
            numbers += self._pack("<H", number)
        return symbols, numbers

    def _dynamic_strings(self) -> list[tuple[int, int]]:
        wanted = self._wanted
        named = [("NEEDED", name) for name in wanted.needed]
        named += [(tag, value) for tag, value in (("SONAME", wanted.soname), ("RPATH", wanted.rpath),
                                                  ("RUNPATH", wanted.runpath)) if value is not None]  # fmt: skip
        return [(_DT[tag], self._strings.place(value)) for tag, value in named]

    def _place(self, sections: list[_Section]) -> tuple[bytes, dict[str, tuple[int, int]]]:
        body, offsets = b"", {}
        for section in sections:
            body += bytes(-len(body) % 8)
            offsets[section.name] = (self._start + len(body), len(section.content))
            content = section.content if section.name != ".dynamic" else self._dynamic(offsets)
            body += content
        return body + bytes(-len(body) % 8), offsets

    def _dynamic(self, offsets: dict[str, tuple[int, int]]) -> bytes:
        entries = [
            *self._dynamic_strings(),
            (_DT["HASH"], offsets[".hash"][0]),
            (_DT["STRTAB"], offsets[".dynstr"][0]),
            (_DT["STRSZ"], offsets[".dynstr"][1]),
            (_DT["SYMTAB"], offsets[".dynsym"][0]),
            (_DT["SYMENT"], 24),
        ]
        if self._needs:
            entries += [
                (_DT["VERSYM"], offsets[".gnu.version"][0]),
                (_DT["VERNEED"], offsets[".gnu.version_r"][0]),
                (_DT["VERNEEDNUM"], len(self._needs)),
            ]
        if self._wanted.relocations:
            start, length = offsets[".rela.dyn"]
            entries += [(_DT["RELA"], start), (_DT["RELASZ"], length), (_DT["RELAENT"], 24)]
        if self._wanted.text_relocations:
            entries.append((_DT[self._wanted.text_relocations], _DF_TEXTREL))
        content = b"".join(self._pack("<QQ", *entry) for entry in entries)
        return content.ljust(offsets[".dynamic"][1], b"\0")

    def _section_headers(self, sections: list[_Section], offsets: dict[str, tuple[int, int]], end: int) -> bytes:
        names = _Strings()
        for section in sections:
            names.place(section.name)
        names.place(".shstrtab")
        order = [section.name for section in sections]
        headers = bytes(64)
        for section in sections:
            start, size = offsets[section.name]
            link = order.index(section.link) + 1 if section.link else 0
            headers += self._pack("<IIQQQQIIQQ", names.place(section.name), section.kind, 2, start, start, size,
                                  link, section.info, 8, section.entry_size)  # fmt: skip
        start = end + 64 * (len(sections) + 2)
        headers += self._pack("<IIQQQQIIQQ", names.place(".shstrtab"), 3, 0, 0, start, len(names.content), 0, 0, 1, 0)
        return headers + names.content
