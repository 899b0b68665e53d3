"""Connections for uploads: a request's body is sent under the time limit for sending, not under that for connecting.

urllib3 leaves the limit for connecting in force until the last byte of the body is sent, so that an index that reads
slowly for some seconds would have its upload broken off.
"""

from __future__ import annotations

from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from manywheels.data import table


class _Patient(HTTPConnection):
    def send(self, data: Any) -> None:  # noqa: ANN401 - as the base class has it
        if self.sock is None:
            self.connect()
        self.sock.settimeout(table("publish")["send-timeout"])
        super().send(data)


class _PatientTLS(_Patient, HTTPSConnection):
    """The same through TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Patient


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _PatientTLS


class Adapter(HTTPAdapter):
    """What `requests` mounts: pools of such connections, also to a proxy."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - passed on
        """Set up the pools of direct connections."""
        super().init_poolmanager(*arguments, **options)
        _equip(self.poolmanager)

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> ProxyManager:  # noqa: ANN401 - passed on
        """Set up the pools of connections through a proxy."""
        manager: ProxyManager = super().proxy_manager_for(*arguments, **options)
        _equip(manager)
        return manager


def _equip(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _PoolTLS}
