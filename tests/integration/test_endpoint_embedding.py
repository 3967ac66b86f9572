"""What an embedding program relies on: importing does nothing, and nothing needs monkey patching."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent
import pytest
from gevent import ssl

import rtmpsrv
from tests.client import Client, keyframe
from tests.doubles import certificates
from tests.server_process import PROJECT

PATCH = "from gevent import monkey; monkey.patch_all()"

# What a program may have of its own, and a library must leave alone.
STATE = """
    import gc, importlib, logging, os, pkgutil, signal, socket, ssl, sys, threading, time

    def state():
        return {
            "descriptors": sorted(os.listdir("/proc/self/fd")),
            "threads": os.listdir("/proc/self/task"),
            "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
            "wake-up descriptor": signal.set_wakeup_fd(-1),
            "log handlers": [logging.getLogger().handlers, logging.getLogger().level],
            "log of its own": [logging.getLogger("rtmpsrv").handlers, logging.getLogger("rtmpsrv").level],
            "environment": dict(os.environ),
            "hooks": [sys.excepthook, sys.unraisablehook, threading.excepthook],
            "limits": [sys.getrecursionlimit(), sys.getswitchinterval(), gc.get_threshold()],
            "patched": [socket.socket, socket.getaddrinfo, ssl.SSLContext, time.sleep, threading.Lock],
            "directory": os.getcwd(),
        }
"""

IMPORTS = """
    before = state()
    import rtmpsrv
    assert not [name for name in sys.modules if name.startswith(("gevent", "rtmpsrv."))]
    for name in rtmpsrv.__all__:
        getattr(rtmpsrv, name)
    for name in ("requests", "redis", "websocket", "jwt"):
        assert name not in sys.modules, name
    for module in pkgutil.walk_packages(rtmpsrv.__path__, "rtmpsrv."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    after = state()
    for what in before:
        assert before[what] == after[what], (what, before[what], after[what])
    import gevent
    from gevent import monkey
    assert not monkey.saved, monkey.saved
    assert gevent._hub_local.get_hub_if_exists() is None
    assert not [one for one in gc.get_objects() if isinstance(one, gevent.Greenlet)]
    print("ok")
"""

RELAY = """
    import gevent, os, sys
    from gevent import ssl
    from gevent.queue import Queue
    from rtmpsrv import (
        Endpoint, ListenForPublishers, ListenForWatchers,
        NewMediaData, NewPublisherConnected, PublishingStopped,
    )

    patched = "gevent.monkey" in sys.modules and bool(sys.modules["gevent.monkey"].saved)
    if not patched:
        # Whatever would stop the whole program is not there.
        import select, socket, ssl as plain_ssl, subprocess, threading, time

        def blocking(*arguments, **options):
            raise AssertionError("a call that blocks every greenlet")

        for module, names in (
            (socket, "getaddrinfo gethostbyname gethostbyname_ex gethostbyaddr getnameinfo"),
            (time, "sleep"),
            (select, "select poll epoll"),
            (plain_ssl, "wrap_socket create_default_context get_server_certificate"),
        ):
            for name in names.split():
                if hasattr(module, name):
                    setattr(module, name, blocking)
        for name in ("accept", "connect", "recv", "recv_into", "send", "sendall", "makefile"):
            setattr(socket.socket, name, blocking)
        plain_ssl.SSLSocket.do_handshake = blocking

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    threads = len(os.listdir("/proc/self/task"))
    with Endpoint("127.0.0.1", tls=context) as endpoint:
        messages = Queue()
        watchers = endpoint.register(ListenForWatchers(rtmp_app="live", port=0), messages)
        secure = endpoint.register(ListenForPublishers(rtmp_app="live", port=0, use_tls=True), messages)
        gaps, last = [0.0], gevent.get_hub().loop.now()

        def tick():
            global last
            while True:
                gevent.sleep(0.01)
                gevent.get_hub().loop.update_now()
                now = gevent.get_hub().loop.now()
                gaps.append(now - last)
                last = now

        ticker = gevent.spawn(tick)
        print(watchers.port, secure.port, flush=True)
        keys = {}
        for message in messages:
            match message:
                case NewPublisherConnected(client=client):
                    assert client.is_tls
                    keys[client.connection_id] = client.stream_key
                case NewMediaData(publisher=publisher, data=data):
                    watchers.send(keys[publisher], data)
                case PublishingStopped(connection_id=publisher):
                    watchers.end(keys.pop(publisher))
                    break
        ticker.kill()
        if not patched:
            assert len(os.listdir("/proc/self/task")) == threads, "a thread was started"
        assert len(gaps) > 20, len(gaps)
        print(max(gaps), flush=True)
"""


def run(*parts: str) -> str:
    program = "\n".join(textwrap.dedent(part) for part in parts)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_importing_changes_nothing_in_the_program() -> None:
    assert run(STATE, IMPORTS) == "ok\n"


def test_every_public_name_is_there_and_listed_once() -> None:
    assert len(set(rtmpsrv.__all__)) == len(rtmpsrv.__all__)
    for name in rtmpsrv.__all__:
        assert getattr(rtmpsrv, name) is not None
    assert set(rtmpsrv.__all__) <= set(dir(rtmpsrv))
    with pytest.raises(AttributeError, match="nonsense"):
        rtmpsrv.nonsense  # noqa: B018 - the look-up is the test


def test_the_package_says_that_it_is_typed() -> None:
    assert (PROJECT / "rtmpsrv" / "py.typed").exists()


@contextmanager
def relay(patch: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", f"{patch}\n{textwrap.dedent(RELAY)}", *arguments],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("patch", ["", PATCH], ids=["unpatched", "patched"])
def test_the_endpoint_and_its_tls_cooperate_in_programs_with_and_without_patching(
    patch: str, tmp_path: Path
) -> None:
    made = certificates.make(tmp_path)
    trusting = ssl.create_default_context(cafile=made.ca)
    with relay(patch, made.certificate, made.key) as process:
        assert process.stdout is not None
        ports = process.stdout.readline().split()
        assert len(ports) == 2, process.communicate()[1]
        plain, secure = map(int, ports)
        with Client(plain) as watcher, Client(secure) as silent, Client(secure) as publisher:
            watcher.play("live", "key")
            silent.send(b"\x16\x03\x01")  # begins a TLS handshake, and leaves it at that
            publisher.socket = trusting.wrap_socket(publisher.socket, server_hostname="127.0.0.1")
            publisher.publish("live", "key")
            for number in range(10):
                publisher.video(number * 40, keyframe(b"picture %d" % number))
                gevent.sleep(0.04)
            watcher.read_until(lambda one: one.payload.endswith(b"picture 9"))
            publisher.close()
            watcher.expect_status("NetStream.Play.UnpublishNotify")
            output, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert errors == ""
    assert float(output) < 1.0  # seconds that the program's own greenlet had to wait
