"""`python -m rtmpsrv.probe [healthz|readyz]`: ask the server of this machine how it is; for health checks.

It has the settings of the server, so it knows port, TLS and token, and nobody writes those into a manifest.
Where there is no admin side it looks whether the RTMP port takes connections.
"""

from __future__ import annotations

import base64
import socket
import ssl
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection

from .api_settings import installed, is_loopback
from .config import Config
from .errors import ConfigError

QUESTIONS = ("healthz", "readyz")
TIMEOUT_S = 5.0  # a process that hangs is waited for for 3 s, and the one that answers may have to be started
MAX_ANSWER_BYTES = 4096
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


def main(arguments: list[str]) -> int:
    """Print what the server says; return 0 if that is good, else 1. Blocks for some seconds at most."""
    question = arguments[0] if arguments else QUESTIONS[0]
    if question not in QUESTIONS or len(arguments) > 1:
        sys.stderr.write(f"usage: python -m rtmpsrv.probe [{'|'.join(QUESTIONS)}]\n")
        return 2
    try:
        config, _ = Config.start(again=True)  # a `.env` that is a pipe is the server's
        good, line = ask(config, question)
    except ConfigError as exc:
        good, line = False, "; ".join(exc.problems)
    sys.stdout.write(f"{line}\n")
    return 0 if good else 1


def ask(config: Config, question: str) -> tuple[bool, str]:
    """Return whether all is well, and a line about it. Blocks for some seconds at most."""
    if not config.api_port or not installed():
        return _port(config)
    try:
        return _http(config, question)
    except ConnectionRefusedError as exc:
        if "API_PORT" in config.given:
            return False, f"the admin side: {exc.strerror}"
        return _port(config)  # another one has the default port: the server goes on without
    except (OSError, HTTPException) as exc:
        return False, f"the admin side: {exc or type(exc).__name__}"


def _http(config: Config, question: str) -> tuple[bool, str]:
    host = _host(config.api_bind_address)
    connection = HTTPConnection(host, config.api_port, timeout=TIMEOUT_S)
    if config.api_tls:
        # What is asked is on this machine, and its certificate names it as its clients know it.
        context = ssl._create_unverified_context()
        connection = HTTPSConnection(host, config.api_port, timeout=TIMEOUT_S, context=context)
    try:
        connection.request("GET", f"/{question}", headers=_credentials(config, host))
        response = connection.getresponse()
        text = response.read(MAX_ANSWER_BYTES).decode(errors="replace").strip()
    finally:
        connection.close()
    return response.status == 200, text or f"status {response.status}"


def _credentials(config: Config, host: str) -> dict[str, str]:
    """Prove who asks where that is needed; from loopback it is not, and another one might have the port."""
    if is_loopback(host):
        return {}
    if config.api_token:
        return {"Authorization": f"Bearer {config.api_token}"}
    if config.api_users:
        user = base64.b64encode(config.api_users.split(",")[0].strip().encode()).decode()
        return {"Authorization": f"Basic {user}"}
    return {}


def _port(config: Config) -> tuple[bool, str]:
    host = _host(config.bind_address)
    try:
        socket.create_connection((host, config.rtmp_port), TIMEOUT_S).close()
    except OSError as exc:
        return False, f"port {config.rtmp_port}: {exc.strerror or exc}"
    return True, f"port {config.rtmp_port} takes connections"


def _host(bind_address: str) -> str:
    bare = bind_address.strip("[]")
    return _EVERYWHERE.get(bare, bare)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
