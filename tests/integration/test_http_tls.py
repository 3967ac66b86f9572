"""Viewers by HTTPS: with our own certificate and its renewal, and with a real nginx in front that has one."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.access_run import AccessServer, Encoder
from tests.doubles.pairs import Issued, issue
from tests.doubles.secrets import KEY
from tests.http_viewers import FORMS, GOOD, PATIENCE_S, REFUSED, Viewer, refused, wait_until_shown
from tests.media_files import current_ffmpeg, system_tool
from tests.server_process import free_port

QUERY = f"key={KEY}"
FROM, NOT_FROM = "127.1.250.1", "127.2.0.1"  # may play; may not
NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    {places}
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {chain};
        ssl_certificate_key {key};
        location / {{
            proxy_pass http://127.0.0.1:{http};
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_buffering off;
            proxy_read_timeout 1h;
        }}
    }}
}}
"""


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
    done = run(program, "-v", "error", "-nostdin", "-tls_verify", "0", "-i", url, "-map", "0:v", "-c", "copy",
               "-frames:v", "10", "-f", "framemd5", "-")  # fmt: skip
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


def test_who_speaks_no_tls_is_refused(https: Https) -> None:
    answer = run(system_tool("curl"), "-sS", f"http://127.0.0.1:{https.port}/live")
    assert answer.returncode != 0
    assert "HTTP/1.1" not in answer.stdout


class Behind:
    """nginx with TLS and HTTP/2, as the documentation has it, and a server that trusts it."""

    def __init__(self, folder: Path, ends: ExitStack) -> None:
        self.http, self.port = free_port(), free_port()
        self.server = ends.enter_context(
            AccessServer(
                HTTP_PORT=str(self.http), HTTP_TRUSTED_PROXIES="127.0.0.1",
                RTMP_PLAY_WHITELIST="127.0.0.1,127.1.0.0/16",
            )
        )  # fmt: skip
        ends.enter_context(Encoder(self.server.port, "live"))
        chain, key = issue().write(folder)
        names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = " ".join(f"{name}_temp_path {folder}/{name};" for name in names)
        path = folder / "nginx.conf"
        path.write_text(
            NGINX.format(folder=folder, places=places, port=self.port, http=self.http, chain=chain, key=key)
        )
        log = folder / "error.log"
        process = subprocess.Popen([system_tool("nginx"), "-p", str(folder), "-c", str(path), "-e", str(log)])
        ends.callback(process.wait, PATIENCE_S)
        ends.callback(process.terminate)
        until = monotonic() + PATIENCE_S
        while not (folder / "nginx.pid").exists():
            assert process.poll() is None, log.read_text()
            assert monotonic() < until, "nginx does not listen"
            sleep(0.02)


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    with ExitStack() as ends:
        yield Behind(tmp_path_factory.mktemp("nginx"), ends)


def test_nginx_in_front(behind: Behind) -> None:
    wait_until_shown(behind.port, "live", QUERY, context=anybody())
    for form in FORMS:
        with Viewer(behind.port, form, "live", QUERY, source=FROM, context=anybody()) as viewer:
            assert viewer.status == GOOD, form
        with Viewer(behind.port, form, "live", QUERY, source=NOT_FROM, context=anybody()) as viewer:
            assert viewer.status == refused(form, REFUSED), form
    for form in ("flv", "ws-flv", "mp4", "ws-mp4", "hls", "jpg"):
        assert behind.server.matching(rf"PLAY \({form}, {FROM}\): live")
    said = {"X-Forwarded-For": "127.1.0.1"}
    with Viewer(
        behind.port, "flv", "live", QUERY, source=NOT_FROM, headers=said, context=anybody()
    ) as viewer:
        assert viewer.status == REFUSED, "what it says itself does not count"
    h2 = run(system_tool("curl"), "-sSk", "--http2", "-o", "/dev/null", "-w", "%{http_version} %{http_code}",
             f"https://127.0.0.1:{behind.port}/live/index.m3u8?{QUERY}")  # fmt: skip
    assert h2.stdout == "2 200", h2.stderr
    watches(current_ffmpeg(), f"https://127.0.0.1:{behind.port}/live.flv?{QUERY}")


def test_a_page_knows_its_own_address_behind_a_proxy(behind: Behind) -> None:
    """A WebSocket of our own page, whose origin is what the browser sees."""
    headers = {"Origin": "https://localhost"}
    with Viewer(behind.port, "ws-mp4", "live", QUERY, headers=headers, context=anybody()) as viewer:
        assert viewer.status == GOOD
    headers = {"Origin": "https://elsewhere.example"}
    with Viewer(behind.port, "ws-mp4", "live", QUERY, headers=headers, context=anybody()) as viewer:
        assert viewer.status == REFUSED
