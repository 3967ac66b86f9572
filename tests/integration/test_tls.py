"""RTMPS in the real server: certificates, clients, renewals while players watch (statements 108-112)."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from subprocess import DEVNULL, PIPE
from time import monotonic, sleep
from typing import Any

import pytest
from cryptography import x509

from tests.client import AAC_HEADER, AVC_HEADER, Client, interframe, keyframe, media_of, names_of
from tests.doubles.pairs import Issued, issue, issue_chain
from tests.media_files import HASH_OPTIONS, SAMPLES, current_ffmpeg, packets_of, parse_hashes, system_tool
from tests.server_process import ServerProcess, free_port

LISTENING = r"\[SERVER:TLS\] \[INFO\] Listening on "
INTERVAL_S = 1
UNCHANGED_S = 2.5 * INTERVAL_S  # long enough for a change to be seen


def any_certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class TlsClient(Client):
    """The client of the other tests, over TLS."""

    def __init__(self, port: int, host: str = "127.0.0.1", receive_buffer: int = 0) -> None:
        super().__init__(port, host, receive_buffer=receive_buffer)
        try:
            self.socket = any_certificate().wrap_socket(self.socket, suppress_ragged_eofs=False)
        except BaseException:
            self.socket.close()
            raise


class Stand:
    """A certificate folder, and a server that reads from it."""

    def __init__(self, folder: Path, chain: Path | str = "", key: Path | str = "", **settings: str) -> None:
        self.folder = folder
        self.tls_port = free_port()
        self.clients: list[Client] = []
        self.server = ServerProcess(
            SSL_CERT=str(chain or folder / "fullchain.pem"),
            SSL_KEY=str(key or folder / "privkey.pem"),
            SSL_PORT=str(self.tls_port),
            **({"SSL_CHECK_RELOAD_SECONDS": str(INTERVAL_S), "CONCURRENT_LIMIT_WHITELIST": "*"} | settings),
        )

    def __enter__(self) -> Stand:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.server.__exit__(None, None, None)

    def listening(self) -> Stand:
        self.server.wait_for_line(LISTENING)
        return self

    def client(self, host: str = "127.0.0.1", receive_buffer: int = 0) -> TlsClient:
        client = TlsClient(self.tls_port, host, receive_buffer)
        self.clients.append(client)
        return client

    def plain(self) -> Client:
        client = Client(self.server.port)
        self.clients.append(client)
        return client

    def publisher(self, app: str, secure: bool = True) -> Client:
        publisher = (self.client() if secure else self.plain()).publish(app)
        publisher.metadata()
        publisher.audio(0, AAC_HEADER)
        publisher.video(0, AVC_HEADER)
        publisher.video(0, keyframe(b"first"))
        publisher.fence()
        return publisher

    def shown_serial(self) -> int:
        """Return the serial of the certificate that a new handshake shows."""
        with any_certificate().wrap_socket(
            socket.create_connection(("127.0.0.1", self.tls_port), 5)
        ) as connection:
            der = connection.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der).serial_number

    def descriptors(self) -> int:
        """Those of connections and ports; the memory files of logs come and go as streams need them."""
        folder = Path(f"/proc/{self.server.process.pid}/fd")
        links = []
        for link in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                links.append(str(link.readlink()))
        return sum("memfd:" not in link for link in links)

    def wait_for_descriptors(self, count: int, timeout_s: float = 5.0) -> None:
        until = monotonic() + timeout_s
        while self.descriptors() > count and monotonic() < until:
            sleep(0.05)
        assert self.descriptors() <= count

    def failed_handshake(self, data: bytes) -> None:
        # The server may be faster than any of these.
        with contextlib.suppress(OSError), socket.socket() as connection:
            connection.settimeout(5)
            connection.connect(("127.0.0.1", self.tls_port))
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1000):
                pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "certificates"


@pytest.fixture
def open_stand(folder: Path) -> Iterator[Callable[..., Stand]]:
    """Give a function that starts a server; it ends with the test."""
    stands: list[Stand] = []

    def start(issued: Issued | None = None, **settings: str) -> Stand:
        if issued is not None:
            issued.write(folder)
        stands.append(Stand(folder, **settings))
        return stands[-1].listening() if issued is not None else stands[-1]

    yield start
    for stand in stands:
        stand.close()


# --- start --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["SSL_CERT", "SSL_KEY"])
def test_s08_one_file_alone_means_no_tls_and_no_error(folder: Path, missing: str) -> None:
    chain, key = issue().write(folder)
    settings = {"SSL_CERT": str(chain), "SSL_KEY": str(key), "SSL_PORT": str(free_port())} | {missing: ""}
    with ServerProcess(**settings) as server:
        with Client(server.port) as client:
            client.publish("live")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(settings["SSL_PORT"])), 5)
        assert not server.matching("TLS|ERROR")
        server.check_log()


def test_s10_only_the_tls_listener_uses_its_address(open_stand: Callable[..., Stand]) -> None:
    stand = open_stand(issue(), SSL_BIND_ADDRESS="127.0.0.2")
    stand.client("127.0.0.2").publish("live")
    with pytest.raises(ConnectionRefusedError):
        stand.client("127.0.0.1")
    stand.plain().publish("other")
    with pytest.raises(ConnectionRefusedError):
        Client(stand.server.port, "127.0.0.2")


def test_s109_without_a_certificate_the_plain_port_works_and_the_other_follows(
    open_stand: Callable[..., Stand], folder: Path
) -> None:
    stand = open_stand()
    (line,) = stand.server.wait_for_line(r"\[SERVER:TLS\] \[ERROR\]")
    assert "No such file or directory; RTMPS is off until that is put right" in line
    stand.plain().publish("live")
    sleep(UNCHANGED_S)
    assert len(stand.server.matching("ERROR")) == 1, "it is told once"
    expired = issue(ends=timedelta(days=-1), begins=timedelta(days=-2))
    expired.write(folder)
    stand.server.wait_for_line(
        r"\[WARNING\] TLS configuration is used all the same: certificate 1 expired on"
    )
    stand.listening()
    assert stand.shown_serial() == expired.serial
    issued = issue()
    issued.write(folder)
    stand.server.wait_for_line("TLS configuration reloaded")
    assert stand.shown_serial() == issued.serial
    stand.client().play("live")


def test_s109_a_taken_port_is_tried_again(folder: Path) -> None:
    issue().write(folder)
    stand = Stand(folder)  # learns its port
    port = stand.tls_port
    stand.close()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        again = ServerProcess(
            SSL_CERT=str(folder / "fullchain.pem"), SSL_KEY=str(folder / "privkey.pem"),
            SSL_PORT=str(port), SSL_CHECK_RELOAD_SECONDS="1",
        )  # fmt: skip
        with again as server:
            server.wait_for_line(r"\[ERROR\] .*RTMPS port: .*Address already in use")
            taken.close()
            server.wait_for_line(LISTENING)


def test_a_certificate_that_expires_soon_is_a_warning(open_stand: Callable[..., Stand]) -> None:
    stand = open_stand(issue(ends=timedelta(days=5, hours=1)))
    stand.server.wait_for_line(r"\[SERVER:TLS\] \[WARNING\] TLS certificate expires in 5 days, on ")


# --- the same behaviour -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_s108_a_checking_client_is_served(
    open_stand: Callable[..., Stand], kind: str, version: ssl.TLSVersion
) -> None:
    leaf = issue_chain(kind)
    assert leaf.issuer is not None
    assert leaf.issuer.issuer is not None
    stand = open_stand(leaf)
    context = ssl.create_default_context(cadata=leaf.issuer.issuer.pem.decode())
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "rtmp"])
    client = Client(stand.tls_port)
    stand.clients.append(client)
    client.socket = context.wrap_socket(client.socket, server_hostname="localhost")
    client.publish("live")
    assert client.socket.version() == version.name.replace("_", ".")
    assert client.socket.selected_alpn_protocol() is None
    stand.server.check_log()


def test_s108_tls_1_1_is_refused(open_stand: Callable[..., Stand]) -> None:
    stand = open_stand(issue())
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{stand.tls_port}", "-tls1_1"]
    command += ["-cipher", "ALL:@SECLEVEL=0"]
    done = subprocess.run(command, stdin=DEVNULL, capture_output=True, text=True, timeout=20, check=False)
    assert "protocol version" in done.stderr
    stand.server.wait_for_line("TLS handshakes failed: 1, the last with 127.0.0.1: unsupported protocol")


def test_s108_tls_and_plain_clients_share_channels(open_stand: Callable[..., Stand]) -> None:
    stand = open_stand(issue())
    publisher = stand.publisher("live")
    players = [stand.client().play("live"), stand.plain().play("live")]
    other = stand.publisher("other", secure=False)
    players += [stand.client().play("other"), stand.plain().play("other")]
    big = keyframe(os.urandom(200_000))
    for source in (publisher, other):
        source.video(40, big)
        source.video(80, interframe(b"last"))
    for player in players:
        _, last = player.read_until(lambda one: one.payload == interframe(b"last"))
        assert last.timestamp == 80
    for source in (publisher, other):
        source.command("deleteStream", None, 1)
        source.close()
    for player in players:
        player.expect_status("NetStream.Play.UnpublishNotify")
    stand.server.check_log()


def test_s108_refusals_reach_a_tls_client_before_the_end(open_stand: Callable[..., Stand]) -> None:
    stand = open_stand(issue())
    client = stand.client().connect("live")
    client.ask_publish("", client.create_stream())
    assert client.expect_status("NetStream.Publish.BadName")
    client.expect_closed()  # Closed by close_notify: a truncated stream raises SSLEOFError


def test_s108_a_stopping_server_says_goodbye(open_stand: Callable[..., Stand]) -> None:
    stand = open_stand(issue())
    stand.publisher("live", secure=False)
    players = [stand.client().play("live") for _ in range(3)]
    silent = socket.create_connection(("127.0.0.1", stand.tls_port), 5)
    began = monotonic()
    stand.server.process.send_signal(signal.SIGTERM)
    for player in players:
        assert "NetStream.Play.UnpublishNotify" in names_of(player.expect_closed())
    assert stand.server.wait() == 0
    assert monotonic() - began < 5, "a silent handshake must not use up the time to drain"
    silent.close()
    stand.server.check_log()


# --- renewal ------------------------------------------------------------------------------------------


def _point(link: Path, target: Path) -> None:
    """Swap a symbolic link in one step, as certbot and Kubernetes do."""
    new = link.with_name(link.name + ".new")
    new.symlink_to(target)
    new.rename(link)


def test_s110_a_renewal_by_symlink_cuts_nobody(tmp_path: Path) -> None:
    live = tmp_path / "live"
    first, second = issue(kind="rsa"), issue_chain("ecdsa")
    for number, issued in enumerate((first, second), 1):
        issued.write(tmp_path / f"archive{number}")
        # The same times: only what the files hold tells them apart.
        for file in (tmp_path / f"archive{number}").iterdir():
            os.utime(file, (1_700_000_000, 1_700_000_000))
    live.symlink_to(tmp_path / "archive1")
    with Stand(live) as stand:
        stand.listening()
        publisher = stand.publisher("live")
        players = [stand.client().play("live") for _ in range(20)]
        assert stand.shown_serial() == first.serial
        mark = stand.server.mark()
        _point(live, tmp_path / "archive2")
        until = monotonic() + 10
        sent = 0
        while not stand.server.matching(r"\[INFO\] TLS configuration reloaded: CN=localhost", mark):
            assert monotonic() < until
            sent += 1
            publisher.video(sent * 40, interframe(b"%d" % sent))
            sleep(0.04)
        assert stand.shown_serial() == second.serial
        late = stand.client().play("live")
        publisher.video((sent + 1) * 40, interframe(b"last"))
        for player in players:
            before, _ = player.read_until(lambda one: one.payload == interframe(b"last"))
            received = [one.payload for one in media_of(before) if one.payload.startswith(interframe(b""))]
            assert received == [interframe(b"%d" % number) for number in range(1, sent + 1)]
        late.read_until(lambda one: one.payload == interframe(b"last"))
        stand.server.check_log()


def test_s110_a_renewal_as_kubernetes_does_it(tmp_path: Path) -> None:
    first, second = issue(), issue()
    first.write(tmp_path / "..1")
    second.write(tmp_path / "..2")
    (tmp_path / "..data").symlink_to("..1")
    for name in ("fullchain.pem", "privkey.pem"):
        (tmp_path / name).symlink_to(Path("..data") / name)
    with Stand(tmp_path) as stand:
        stand.listening()
        _point(tmp_path / "..data", Path("..2"))
        shutil.rmtree(tmp_path / "..1")
        stand.server.wait_for_line("TLS configuration reloaded")
        assert stand.shown_serial() == second.serial


def test_s111_bad_pairs_keep_the_old_one_and_a_later_good_one_is_taken(
    open_stand: Callable[..., Stand], folder: Path
) -> None:
    first, second = issue(), issue(kind="rsa")
    stand = open_stand(first)
    player = stand.client().play("live")
    (folder / "fullchain.pem").write_bytes(second.pem)
    stand.server.wait_for_line("the private key does not match the certificate; the old pair stays in use")
    (folder / "fullchain.pem").write_bytes(second.pem[:-50])
    stand.server.wait_for_line(r"has no end; the old pair stays in use")
    sleep(UNCHANGED_S)
    assert len(stand.server.matching(r"\[ERROR\]")) == 2, "once for each change"
    assert stand.shown_serial() == first.serial
    second.write(folder)
    stand.server.wait_for_line("TLS configuration reloaded")
    assert stand.shown_serial() == second.serial
    player.fence()


def test_s112_with_interval_0_only_sighup_reloads(open_stand: Callable[..., Stand], folder: Path) -> None:
    first, second = issue(), issue()
    stand = open_stand(first, SSL_CHECK_RELOAD_SECONDS="0")
    second.write(folder)
    sleep(UNCHANGED_S)
    assert stand.shown_serial() == first.serial
    assert not stand.server.matching("reloaded")
    stand.server.process.send_signal(signal.SIGHUP)
    stand.server.wait_for_line("TLS configuration reloaded")
    assert stand.shown_serial() == second.serial
    stand.server.process.send_signal(signal.SIGHUP)
    stand.server.wait_for_line("TLS configuration has not changed")


def test_neither_a_named_pipe_nor_an_endless_chain_stops_anybody(
    open_stand: Callable[..., Stand], folder: Path
) -> None:
    first, second = issue(), issue()
    stand = open_stand(first, SSL_CHECK_RELOAD_SECONDS="0")
    player = stand.client().play("live")
    (folder / "fullchain.pem").write_bytes(second.pem * 900)
    (folder / "privkey.pem").write_bytes(second.key)
    stand.server.process.send_signal(signal.SIGHUP)
    stand.server.wait_for_line("more than clients take; the old pair stays in use")
    (folder / "fullchain.pem").unlink()
    os.mkfifo(folder / "fullchain.pem")
    stand.server.process.send_signal(signal.SIGHUP)
    stand.server.wait_for_line("it is not a regular file; the old pair stays in use")
    assert stand.shown_serial() == first.serial
    player.fence()


# --- hostile peers ------------------------------------------------------------------------------------

NOT_TLS = (b"", b"\x03" + bytes(1536), b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")


def test_s24_ten_failed_handshakes_do_not_lock_an_address_out(open_stand: Callable[..., Stand]) -> None:
    stand = open_stand(issue(), CONCURRENT_LIMIT_WHITELIST="", MAX_IP_CONCURRENT_CONNECTIONS="1")
    for number in range(10):
        stand.failed_handshake(NOT_TLS[number % len(NOT_TLS)])
    stand.client().publish("live")
    assert not stand.server.matching("Rejected")
    stand.server.check_log()


def test_s24_1000_failed_and_100_silent_handshakes_lose_no_slot_and_no_descriptor(
    open_stand: Callable[..., Stand],
) -> None:
    stand = open_stand(
        issue(),
        CONCURRENT_LIMIT_WHITELIST="",
        MAX_IP_CONCURRENT_CONNECTIONS="100",
        HANDSHAKE_TIMEOUT_SECONDS="2",
    )
    stand.failed_handshake(b"\x03")
    sleep(0.2)
    before = stand.descriptors()
    for number in range(1000):
        stand.failed_handshake(NOT_TLS[number % len(NOT_TLS)])
    stand.wait_for_descriptors(before)
    for _ in range(2):  # the second round finds all slots free again
        silent = [socket.create_connection(("127.0.0.1", stand.tls_port), 5) for _ in range(100)]
        until = monotonic() + 5
        while stand.descriptors() < before + 100 and monotonic() < until:
            sleep(0.02)
        refused = stand.server.mark()
        with pytest.raises((ConnectionError, ssl.SSLError)):
            stand.client()
        stand.server.wait_for_line("Rejected request from 127.0.0.1 due to connection limit", refused)
        began = monotonic()
        for connection in silent:
            assert connection.recv(1) == b"", "the server ends it"
            connection.close()
        assert monotonic() - began < 4
        stand.wait_for_descriptors(before)
    assert len(stand.server.matching("Rejected")) == 2
    client = stand.client().publish("live")
    client.close()
    stand.wait_for_descriptors(before)
    stand.server.check_log()


def test_a_stalled_tls_player_skips_and_the_others_get_everything(open_stand: Callable[..., Stand]) -> None:
    stand = open_stand(issue(), PLAYER_MAX_LAG_MB="1")
    publisher = stand.publisher("live")
    good = [stand.client().play("live"), stand.client().play("live"), stand.plain().play("live")]
    stalled = stand.client(receive_buffer=8192).play("live")
    count = 60  # of 200 kB each: more than the buffers of the kernel take
    for number in range(count):
        publisher.video(40 * number, keyframe(b"%03d" % number + os.urandom(200_000)))
        for player in good:
            player.read_until(lambda one, n=number: one.payload[5:8] == b"%03d" % n)  # type: ignore[misc]
    publisher.video(40 * count, interframe(b"end"))
    before, _ = stalled.read_until(lambda one: one.payload == interframe(b"end"), 20)
    numbers = [int(one.payload[5:8]) for one in media_of(before) if len(one.payload) > 1000]
    assert numbers == sorted(numbers)
    assert numbers[-1] == count - 1, "it goes on at the newest keyframe"
    assert len(numbers) < count, "and left out some"
    stand.server.check_log()


def test_a_tls_player_that_takes_nothing_is_dropped(open_stand: Callable[..., Stand]) -> None:
    stand = open_stand(issue(), PLAYER_STALL_SECONDS="2")
    publisher = stand.publisher("live")
    good = stand.client().play("live")
    stand.client(receive_buffer=8192).play("live")
    for number in range(40):
        publisher.video(40 * number, keyframe(b"%03d" % number + os.urandom(200_000)))
        good.read_until(lambda one, n=number: one.payload[5:8] == b"%03d" % n)  # type: ignore[misc]
    stand.server.wait_for_line("closed: took nothing for 2 s")
    good.fence()
    publisher.fence()
    stand.server.check_log()


def test_a_tls_client_that_vanishes_is_closed_quietly(open_stand: Callable[..., Stand]) -> None:
    stand = open_stand(issue())
    publisher = stand.publisher("live")
    before = stand.descriptors()
    for how in (socket.SHUT_RDWR, socket.SHUT_WR):
        player = stand.client().play("live")
        socket.socket.shutdown(player.socket, how)
        publisher.video(40, keyframe(os.urandom(10_000)))
        stand.server.wait_for_line("closed: ")
        player.close()
    stand.wait_for_descriptors(before + 1)  # the memory of a stream has a file
    stand.server.check_log()


@pytest.mark.parametrize("how", ["goodbye", "broken record"])
def test_a_publisher_that_ends_tls_behind_media_frees_its_channel_though_tcp_stays_open(
    open_stand: Callable[..., Stand], how: str
) -> None:
    stand = open_stand(issue())
    publisher = stand.publisher("live")
    tls: Any = publisher.socket
    tls.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)  # both in one segment
    publisher.video(40, interframe(b"last"))
    if how == "goodbye":
        tls.settimeout(0)
        with pytest.raises(ssl.SSLWantReadError):
            tls.unwrap()
    else:
        os.write(tls.fileno(), b"\x17\x03\x03\0\x30" + bytes(48))
    tls.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    stand.server.wait_for_line("PUBLISH END")
    stand.publisher("live")
    stand.server.check_log()


# --- real clients -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "h264_aac.flv"
    command = [current_ffmpeg(), "-v", "error", "-nostdin", "-y", *SAMPLES["h264_aac"].split(), str(path)]
    subprocess.run(command, check=True, timeout=60, stderr=DEVNULL)
    return path


def _players(url: str, folder: Path) -> dict[str, list[str]]:
    quiet = ["-v", "error", "-nostdin"]
    return {
        "old": [system_tool("ffmpeg"), *quiet, "-i", url, *HASH_OPTIONS, str(folder / "old.hash")],
        "new": [
            current_ffmpeg(), *quiet, "-tls_verify", "0", "-i", url, *HASH_OPTIONS, str(folder / "new.hash"),
        ],
        "rtmpdump": [system_tool("rtmpdump"), "-q", "--live", "-r", url, "-o", str(folder / "rtmpdump.flv")],
        "rtmp2src": [
            system_tool("gst-launch-1.0"), "-q", "rtmp2src", f"location={url}", "tls-validation-flags=0",
            "!", "filesink", f"location={folder / 'rtmp2src.flv'}",
        ],
    }  # fmt: skip


def _publisher(name: str, url: str, sample: Path) -> list[str]:
    if name == "rtmpsink":
        pipeline = (
            f"filesrc location={sample} ! flvdemux name=from flvmux name=to streamable=true"
            " from.video ! queue ! to.video from.audio ! queue ! to.audio"
            f" to. ! rtmpsink sync=true location={url}"
        )
        return [system_tool("gst-launch-1.0"), *pipeline.split()]
    program = current_ffmpeg() if name == "new" else system_tool("ffmpeg")
    options = ["-v", "error", "-nostdin", "-re", "-i", str(sample), "-c", "copy", "-f", "flv"]
    return [program, *options, *(["-tls_verify", "0"] if name == "new" else []), url]


@pytest.mark.parametrize("publisher", ["old", "new", "rtmpsink"])
def test_s108_real_clients_publish_and_play_every_packet(
    open_stand: Callable[..., Stand], tmp_path: Path, sample: Path, publisher: str
) -> None:
    stand = open_stand(issue_chain("rsa"))
    url = f"rtmps://127.0.0.1:{stand.tls_port}/live/key"
    commands = _players(url, tmp_path)
    players = {
        name: subprocess.Popen(command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, text=True)
        for name, command in commands.items()
    }
    try:
        stand.server.wait_for_line(r"PLAY \(\d+\): live$", count=len(players), timeout_s=30)
        done = subprocess.run(
            _publisher(publisher, url, sample),
            stdin=DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        for name, player in players.items():
            try:
                player.wait(30)
            except subprocess.TimeoutExpired:
                pytest.fail(f"{name} hangs")
    finally:
        errors = {}
        for name, player in players.items():
            if player.poll() is None:
                player.kill()
            errors[name] = player.communicate()[1]
    published = {name: [one.hash for one in packets] for name, packets in packets_of(sample).items()}
    for name in players:
        listed = tmp_path / f"{name}.hash"
        played = parse_hashes(listed.read_text()) if listed.exists() else packets_of(tmp_path / f"{name}.flv")
        got = {stream: [one.hash for one in packets] for stream, packets in played.items()}
        if name == "rtmp2src" and len(got["audio0"]) == len(published["audio0"]) - 1:
            # GStreamer 1.22 may end without the last message when the notice of the end follows at once,
            # over plain RTMP as well.
            published = published | {"audio0": published["audio0"][:-1]}
        counts = {stream: (len(hashes), len(published[stream])) for stream, hashes in got.items()}
        assert got == published, f"{name}: {counts} {errors[name]}"
    stand.server.check_log()
