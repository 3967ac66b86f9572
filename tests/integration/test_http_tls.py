"""Viewers by HTTPS, in every form: clients of others, and a certificate that is renewed."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.access_run import AccessServer, Encoder
from tests.doubles.pairs import Issued, issue
from tests.doubles.secrets import KEY
from tests.http_viewers import GOOD, PATIENCE_S, Viewer, wait_until_shown
from tests.media_files import current_ffmpeg, system_tool
from tests.server_process import free_port

QUERY = f"key={KEY}"


def anybody() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a client to its end."""
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def serial(port: int) -> int:
    """Return that of the certificate which a newcomer is shown."""
    done = run(
        "sh", "-c", f"openssl s_client -connect 127.0.0.1:{port} </dev/null | openssl x509 -noout -serial"
    )
    return int(done.stdout.strip().partition("=")[2], 16)


def watches(program: str, url: str) -> None:
    """Let ffmpeg copy ten packets of the picture."""
    soon = ["-tls_verify", "0", "-analyzeduration", "500k", "-i", url]
    copy = ["-map", "0:v", "-c", "copy", "-frames:v", "10", "-f", "framemd5", "-"]
    done = run(program, "-v", "error", "-nostdin", *soon, *copy)
    packets = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert len(packets) == 10, done.stderr


class Https:
    """A server with TLS for viewers, and something on the air."""

    def __init__(self, folder: Path, ends: ExitStack) -> None:
        self.folder = folder
        self.port = free_port()
        self.issued = issue()
        chain, key = self.issued.write(folder)
        self.server = ends.enter_context(
            AccessServer(
                HTTP_PORT=str(self.port), HTTP_TLS="YES", SSL_CERT=str(chain), SSL_KEY=str(key),
                SSL_PORT=str(free_port()), SSL_CHECK_RELOAD_SECONDS="0",
            )
        )  # fmt: skip
        self.server.wait_for_line(rf"\[SERVER:HTTPS\] \[INFO\] Listening on 127.0.0.1:{self.port}")
        ends.enter_context(Encoder(self.server.port, "live"))

    def renew(self) -> Issued:
        since = self.server.mark()
        self.issued = issue()
        self.issued.write(self.folder)
        os.kill(self.server.process.pid, signal.SIGHUP)
        self.server.wait_for_line("TLS configuration reloaded", since, timeout_s=PATIENCE_S)
        return self.issued


@pytest.fixture(scope="module")
def https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Https]:
    with ExitStack() as ends:
        yield Https(tmp_path_factory.mktemp("https"), ends)


def test_every_form_and_clients_of_others(https: Https) -> None:
    wait_until_shown(https.port, "live", QUERY, context=anybody())
    url = f"https://localhost:{https.port}/live"
    authority = str(https.folder / "fullchain.pem")
    page = run(system_tool("curl"), "-sS", "--cacert", authority, "--resolve",
               f"localhost:{https.port}:127.0.0.1", "-o", "/dev/null", "-w", "%{http_code}", url)  # fmt: skip
    assert page.stdout == "200", page.stderr
    for program in (system_tool("ffmpeg"), current_ffmpeg()):
        watches(program, f"https://127.0.0.1:{https.port}/live.flv?{QUERY}")


def test_a_new_certificate_is_for_newcomers_and_cuts_nobody(https: Https) -> None:
    wait_until_shown(https.port, "live", QUERY, context=anybody())
    with Viewer(https.port, "flv", "live", QUERY, context=anybody()) as viewer:
        assert viewer.status == GOOD
        assert serial(https.port) == https.issued.serial
        renewed = https.renew()
        assert serial(https.port) == renewed.serial
        assert viewer.more(4096)
        with Viewer(https.port, "ws-flv", "live", QUERY, context=anybody()) as other:
            assert other.status == GOOD


def test_who_speaks_no_tls_is_told_so(https: Https) -> None:
    answer = run(system_tool("curl"), "-sS", f"http://127.0.0.1:{https.port}/live")
    assert answer.stdout == "This port speaks HTTPS: begin the address with https://\n"
