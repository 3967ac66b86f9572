"""What a start imports: large libraries only when their settings ask. Each App has a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

LARGE = ("OpenSSL", "cryptography", "dotenv", "jwt", "redis", "requests", "urllib3", "websocket")
START = """
import sys
from rtmpsrv import __main__
from rtmpsrv.app import App
from rtmpsrv.config import Config
app = App(Config(bind_address="127.0.0.1", rtmp_port=0, api_port=0, http_port=0, {settings}))
app.start()
print(*(name for name in {names} if name in sys.modules), file=sys.stderr)
"""


def large_after_start(settings: str) -> set[str]:
    """Start an App with these settings; return the large libraries that were loaded for it."""
    done = subprocess.run(
        [sys.executable, "-c", START.format(settings=settings, names=LARGE)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stderr.split())


def test_a_bare_server_loads_none_of_them() -> None:
    assert large_after_start("") == set()


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ("callback_url='http://127.0.0.1:9/'", {"requests", "urllib3", "jwt"}),
        ("redis_use=True, redis_port=9", {"redis"}),
        ("control_use=True, control_base_url='ws://127.0.0.1:9/'", {"websocket", "jwt"}),
        ("ssl_cert='none.pem', ssl_key='none.pem'", {"OpenSSL", "cryptography"}),
    ],
)
def test_each_setting_loads_what_it_needs_and_nothing_of_the_others(settings: str, needed: set[str]) -> None:
    others = set(LARGE) - needed - {"cryptography"}  # PyJWT looks whether it is there
    loaded = large_after_start(settings)
    assert needed <= loaded
    assert not others & loaded
