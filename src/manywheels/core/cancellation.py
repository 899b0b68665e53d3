"""The switch by which a run is stopped: thrown once, from any thread or signal handler."""

from __future__ import annotations

import os
import threading

from manywheels.errors import Cancelled


class Cancellation:
    """A switch that stops running sandboxes at once, from any thread or signal handler. It cannot be turned back."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._children: list[Cancellation] = []

    def child(self) -> Cancellation:
        """Return a switch of its own that is thrown together with this one."""
        child = Cancellation()
        self._children.append(child)
        if self.requested:
            child.request()
        return child

    def request(self) -> None:
        """Stop whatever runs under this switch, and let nothing more start."""
        self._requested.set()
        os.eventfd_write(self._descriptor, 1)
        for child in self._children:
            child.request()

    @property
    def requested(self) -> bool:
        """Whether `request` was called."""
        return self._requested.is_set()

    def stop_if_requested(self, work: str) -> None:
        """Raise Cancelled if `request` was called; `work` is what would go on otherwise, as "The build"."""
        if self.requested:
            raise Cancelled(f"{work} was stopped.", remedy="")

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when the switch is thrown."""
        return self._descriptor

    def __del__(self) -> None:
        os.close(self._descriptor)
