"""The HTTP session of the callback: `requests` as it is, but what it reads is metered. Decides nothing."""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Callable
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from rtmpsrv.access.give_way import GiveWay, Share
from rtmpsrv.access.reading import Meter
from rtmpsrv.access.trust import Trust

KEPT_CONNECTIONS = 256  # what may be idle and used again; more are opened when needed
MAX_HEAD_BYTES = 65_536  # status line and headers, and what may come before them
MAX_BODY_BYTES = 65_536  # read and thrown away so that the connection can be used again; more closes it


def make_session(give_way: GiveWay, trust: Trust) -> requests.Session:
    """Give a session whose answers are bounded; who reads them gives way to others."""
    session = requests.Session()
    adapter = _Adapter(give_way, trust)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    session.headers["Accept-Encoding"] = "identity"  # nobody reads the body, nobody should unpack it
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # publishers share the session
    return session


class _Adapter(HTTPAdapter):
    """Makes the connections whose answers are metered, through a proxy as well."""

    def __init__(self, give_way: GiveWay, trust: Trust) -> None:
        self._pools = _metered_pools(give_way, trust)
        super().__init__(pool_connections=2, pool_maxsize=KEPT_CONNECTIONS, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **details: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*arguments, **details)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *arguments: Any, **details: Any) -> PoolManager:
        """Make the pools of connections through a proxy, which the environment may name."""
        manager: PoolManager = super().proxy_manager_for(*arguments, **details)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def cert_verify(self, conn: Any, url: str, verify: bool | str, cert: Any) -> None:
        """Let a connection's context say who is trusted, and what `REQUESTS_CA_BUNDLE` names, on top."""
        super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]  # no hint there
        if verify is True:
            conn.ca_certs = None  # else the list of certifi


def _metered_pools(give_way: GiveWay, trust: Trust) -> dict[str, type[HTTPConnectionPool]]:
    class Response(_Response):
        new_share = staticmethod(give_way.share)

    class Plain(HTTPConnection):
        response_class = Response

    class Secure(HTTPSConnection):
        response_class = Response

        def connect(self) -> None:
            self.ssl_context = trust.context()
            super().connect()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


class _Response(http.client.HTTPResponse):
    """An answer that is read through a meter: `http.client` reads everything through `fp`."""

    new_share: Callable[[], Share]

    def __init__(self, sock: socket.socket, *arguments: Any, **details: Any) -> None:
        super().__init__(sock, *arguments, **details)
        self._share = self.new_share()
        self._raw = _MeteredRaw(self.fp.detach(), Meter(self._share, MAX_HEAD_BYTES))
        self.fp = io.BufferedReader(self._raw)

    def begin(self) -> None:
        """Read the head; what follows is the body, with a bound of its own."""
        super().begin()
        self._raw.meter = Meter(self._share, MAX_BODY_BYTES)


class _MeteredRaw(io.RawIOBase):
    """The bytes of a connection, metered."""

    def __init__(self, inner: io.RawIOBase, meter: Meter) -> None:
        super().__init__()
        self._inner = inner
        self.meter = meter

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what is there. Blocks as the socket does, and when it is somebody else's turn."""
        count: int | None = self._inner.readinto(buffer)
        self.meter.took(count or 0)
        return count

    def close(self) -> None:
        """Let go of the connection."""
        super().close()
        self._inner.close()
