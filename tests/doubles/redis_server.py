"""A real `redis-server` on a free loopback port: plain, with a password, with a user, with TLS."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time

import redis

from tests.doubles.certificates import Certificates

START_TIMEOUT_S = 10.0


class RedisServer:
    """Use as a context manager; `stop` kills it as a crash would, `start` brings it back on the same port."""

    def __init__(
        self,
        password: str = "",
        user: tuple[str, str] | None = None,
        certificates: Certificates | None = None,
    ) -> None:
        self.port = _free_port()
        self._password = password
        self._user = user
        self._certificates = certificates
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = shutil.which("redis-server")
        assert program, "redis-server is not installed"
        command = [program, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"]
        if self._certificates:
            command += ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            command += ["--tls-cert-file", self._certificates.certificate]
            command += ["--tls-key-file", self._certificates.key]
            command += ["--tls-ca-cert-file", self._certificates.ca]
        else:
            command += ["--port", str(self.port)]
        if self._password:
            command += ["--requirepass", self._password]
        if self._user:
            command += ["--user", self._user[0], "on", f">{self._user[1]}", "~*", "&*", "+@all"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_TIMEOUT_S
        with contextlib.closing(self._client()) as client:
            while True:
                try:
                    client.ping()
                except redis.ConnectionError:
                    assert self._process.poll() is None, "redis-server ended at once"
                    assert time.monotonic() < deadline, "redis-server does not answer"
                    time.sleep(0.01)
                else:
                    return

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it hang: connections stay open, nothing is answered."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def publish(self, channel: str, message: str | bytes) -> int:
        """Send a command; return how many subscribers got it."""
        with contextlib.closing(self._client()) as client:
            return int(client.publish(channel, message))

    def disconnect_subscribers(self) -> int:
        """Cut the connections of subscribers; return how many."""
        with contextlib.closing(self._client()) as client:
            return int(client.client_kill_filter(_type="pubsub"))

    def subscribers(self, channel: str) -> int:
        """Return how many are subscribed."""
        with contextlib.closing(self._client()) as client:
            return int(client.pubsub_numsub(channel)[0][1])

    def wait_for_subscriber(self, channel: str, timeout_s: float = 15.0) -> bool:
        """Wait until somebody is subscribed."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.subscribers(channel):
                return True
            time.sleep(0.01)
        return False

    def _client(self) -> redis.Redis:
        return redis.Redis(
            port=self.port,
            password=self._password or None,
            ssl=self._certificates is not None,
            ssl_ca_certs=self._certificates.ca if self._certificates else None,
            socket_timeout=5,
            protocol=2,
            retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
