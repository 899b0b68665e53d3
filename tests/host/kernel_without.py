"""Start a program on a kernel that lacks some of prctl(2): a filter (seccomp) answers these options with EINVAL.

    kernel_without.py <options of prctl, separated by commas> <program> [argument ...]

QEMU's user mode answers so as well. Run by path, as root: without no_new_privs, only root may filter.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

_NUMBERS = {"x86_64": 157, "aarch64": 167, "riscv64": 167}
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_LOAD, _EQUALS, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NUMBER, _FIRST_ARGUMENT = 0, 16  # in struct seccomp_data


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def lack(options: list[int]) -> None:
    """Take prctl's options from this process and all that it starts."""
    matches = [(_EQUALS, len(options) - place, 0, option) for place, option in enumerate(options)]
    steps = [
        (_LOAD, 0, 0, _NUMBER),
        (_EQUALS, 0, len(options) + 1, _NUMBERS[os.uname().machine]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        *matches,
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERROR | errno.EINVAL),
    ]
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    program = _Program(len(steps), code)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    lack([int(option) for option in sys.argv[1].split(",")])
    os.execvp(sys.argv[2], sys.argv[2:])
