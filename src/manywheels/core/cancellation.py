"""The cancellation of a run, from any thread or signal handler."""

from __future__ import annotations

import os
import threading

from manywheels.errors import Cancelled


class Cancellation:
    """A request to stop all work; it cannot be withdrawn."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._children: list[Cancellation] = []

    def child(self) -> Cancellation:
        """Return a cancellation that is requested with this one, or alone."""
        child = Cancellation()
        self._children.append(child)
        if self.requested:
            child.request()
        return child

    def request(self) -> None:
        """Request it; safe in a signal handler."""
        self._requested.set()
        os.eventfd_write(self._descriptor, 1)
        for child in self._children:
            child.request()

    @property
    def requested(self) -> bool:
        return self._requested.is_set()

    def stop_if_requested(self, work: str) -> None:
        """Raise Cancelled, with a message that begins with `work`, as "The build"."""
        if self.requested:
            raise Cancelled(f"{work} was stopped.", remedy="")

    def fileno(self) -> int:
        """The descriptor is readable once the stop is requested."""
        return self._descriptor

    def __del__(self) -> None:
        os.close(self._descriptor)
