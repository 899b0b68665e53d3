"""Mounted as `sitecustomize` of the program's Python: reports what root does by paths that other users can change.

Python raises audit events (PEP 578) for what opens, makes, renames, removes or gives away files. For each, every folder
on the way to the file is looked at: if one belongs to a user that project code runs as, that user could put a link
there, and root would follow it. What is opened through a descriptor of its folder has no such way.
"""

import os
import sys
import traceback

USERS = range(61999, 64000)
# The events with the positions of paths in their arguments.
EVENTS = {
    "open": (0,), "os.listdir": (0,), "os.scandir": (0,), "os.mkdir": (0,), "os.rmdir": (0,), "os.remove": (0,),
    "os.chown": (0,), "os.chmod": (0,), "os.utime": (0,), "os.truncate": (0,), "os.link": (0, 1), "os.symlink": (1,),
    "os.rename": (0, 1), "os.walk": (0,), "os.fwalk": (0,), "glob.glob": (0,), "os.setxattr": (0,), "os.chdir": (0,),
    "shutil.rmtree": (0,), "shutil.copyfile": (0, 1), "shutil.copytree": (0, 1), "shutil.move": (0, 1),
}  # fmt: skip


def append(name: str, text: str) -> None:
    descriptor = os.open(f"/audit/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(descriptor, text.encode("utf-8", "surrogateescape"))
    os.close(descriptor)


def way_of_a_user(path: str) -> str:
    """Return the folder on the way to a path that belongs to one of the users; empty if there is none."""
    parent = os.path.dirname(path)  # noqa: PTH120
    while parent not in {"/", ""}:
        try:
            if os.lstat(parent).st_uid in USERS:
                return parent
        except OSError:
            pass
        parent = os.path.dirname(parent)  # noqa: PTH120
    return ""


def hook(event: str, arguments: tuple[object, ...]) -> None:
    if event not in EVENTS or os.geteuid() != 0:
        return
    for position in EVENTS[event]:
        path = arguments[position]
        if not isinstance(path, str | bytes | os.PathLike):
            continue  # a descriptor
        name = os.fsdecode(path)
        if not name.startswith("/var/cache/manywheels/"):
            continue
        append("looked-at", f"{event} {name}\n")
        if way := way_of_a_user(name):
            append("found", f"{event} {name}: {way} is a user's\n{''.join(traceback.format_stack(limit=8))}\n")


if os.geteuid() == 0 and os.path.isdir("/audit"):  # noqa: PTH112
    append("found", "")
    sys.addaudithook(hook)
