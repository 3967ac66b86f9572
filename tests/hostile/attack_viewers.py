"""Attacks on the port for viewers by HTTP. Beside each a good viewer watches the good stream by HTTP-FLV."""

from __future__ import annotations

import os
import random
import threading
from collections import deque
from itertools import count
from time import monotonic, sleep

from rtmpsrv.av.mp4_site import MAX_SELECTIONS
from rtmpsrv.protocol import messages
from rtmpsrv.protocol.chunks import pack

from .attacker import Attack
from .cases import Surroundings, attack
from .good import AAC_HEADER, APP, AVC_HEADER, KEY
from .viewing import BINARY, CLOSE, PING, SHOWN, TEXT, asking, everything, framed, shown, source, upgrade
from .wire import GOOD_ADDRESS, NO_CHUNKS, Closed, Connection, whole

SECRET = "Kleinod-7261"
VIEWERS = Surroundings((("HTTP_PORT", "free"),))
# A viewer by HLS is there until it has not asked for half a minute: what bounds them is their address.
LIMITED = Surroundings((("HTTP_PORT", "free"), ("CONCURRENT_LIMIT_WHITELIST", GOOD_ADDRESS)))
SIDE_BY_SIDE = 4
AT_ONCE = 800  # connections that an attacker keeps open
HALF_OPEN = 10_000  # that it opens, where there is time for so many
EACH_S = 1000.0  # of them a second
UNREAD = 40
RELOADS = 300
LITTLE = 4096  # bytes of receive buffer
HOST = b"Host: localhost\r\n"
LAST = HOST + b"Connection: close\r\n\r\n"
BEGIN = b"GET /good.flv?key=%b HTTP/1.1\r\n" % SECRET.encode() + HOST
NEXT = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
PAGES = (
    b"GET /good", b"HEAD /good", b"OPTIONS /good.flv", b"GET /nothing/here", b"HEAD /good.flv?key=k",
    b"GET /static/page.js", b"GET /good.flv?key=" + SECRET.encode(), b"OPTIONS *",
)  # fmt: skip
FORBIDDEN = (
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na",
    b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\r\nGET /\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60\r\n\r\n",
    b"GET / HTTP/1.1\nHost: x\n\n\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\rHost: x\r\n\r\n",
    b"GET / HTTP/3.7\r\nHost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)
LONG = (
    b"GET /" + b"x" * 65536,
    BEGIN + b"X: " + b"y" * 65536,
    BEGIN + b"X: y\r\n" * 9999,
    BEGIN + b"X: y\r\n" * 2000 + b"\r\n",
    b"GET /good?" + b"&".join([b"a=%41"] * 2000) + b" HTTP/1.1\r\n" + LAST,
    b"GET " + b"/%61" * 3000 + b" HTTP/1.1\r\n" + LAST,
)
PATHS = (
    "/../../etc/passwd", "/static/../../config.py", "/static/..%2f..%2fconfig.py", "/static/%2e%2e/page.js",
    "/static/%00", "//etc/passwd", "/..%2f..%2f..%2f..%2fetc%2fpasswd", "/static/....//page.js",
    "/%c0%ae%c0%ae/etc/passwd", "/static/.", "/static/%2fetc%2fpasswd", "/..%5c..%5cetc/passwd", "/good/../x",
    "/%ff%fe.flv", "/good%0d%0aX:%20y.flv", "/%2e%2e/index.m3u8", "/good/..%2findex.m3u8", "/.flv", "/%",
)  # fmt: skip
OF_FILES = (b"root:", b"import ", b"[settings]")


def crowd(this: Attack, data: bytes, *, answered: bool) -> None:
    """Open connections without an end, of many addresses; some are dripped to, the oldest let go."""
    held: deque[Connection] = deque()
    began = monotonic()
    for number in range(HALF_OPEN):
        if this.over:
            break
        if (ahead_s := began + number / EACH_S - monotonic()) > 0:
            sleep(ahead_s)  # the rate
        with this.may_be_cut():
            held.append(this.open_http(data, source=source(number)))
            if answered:
                held[-1].socket.recv(65536)
        if len(held) > AT_ONCE:
            held.popleft().close()
        if number % 10 == 0:
            with this.may_be_cut():
                held[number % len(held)].send(b"X")
    this.watch()


@attack(VIEWERS, not_logged=SECRET)
def viewers_half_open(this: Attack) -> None:
    """Open ten thousand connections of forty addresses that send half a head, and drip."""
    crowd(this, BEGIN, answered=False)


@attack(VIEWERS)
def viewers_that_ask_no_more(this: Attack) -> None:
    """Ask for a page over ten thousand connections of forty addresses, and keep them."""
    crowd(this, NEXT, answered=True)


@attack(VIEWERS, not_logged=SECRET)
def viewers_with_half_a_long_head(this: Attack) -> None:
    """Hold four hundred heads of sixteen thousand bytes that have no end, and come back when cut."""
    held: list[Connection] = []
    with this.may_be_cut():
        while len(held) < 400 and not this.over:
            held.append(this.open_http(BEGIN + b"X: y\r\n" * 2600, source=source(len(held))))
    this.flood(held, b"y", rate=len(held))


@attack(VIEWERS, not_logged=SECRET)
def viewers_with_heads_without_end(this: Attack) -> None:
    """Send request lines, fields and counts of fields that go on and on, four side by side."""

    def once() -> None:
        for data in LONG:
            with this.may_be_cut():
                everything(this.open_http(data))

    this.together(SIDE_BY_SIDE, once)


@attack(VIEWERS)
def viewers_with_requests_for_two(this: Attack) -> None:
    """Send what two readers could take for different requests, and another one behind it; four at a time."""

    def once() -> None:
        for data in FORBIDDEN:
            found = b""
            with this.may_be_cut():
                found = everything(this.open_http(data + NEXT))
            refused = found.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501 ", b"HTTP/1.1 505 "))
            if found and (not refused or found.count(b"HTTP/1.1 ") > 1):
                this.complain(f"{data!r} was answered {found[:60]!r}")

    this.together(SIDE_BY_SIDE, once)


@attack(VIEWERS)
def viewers_with_paths_to_files(this: Attack) -> None:
    """Ask for files by paths that lead out of where they should, four side by side."""

    def once() -> None:
        for path in PATHS:
            found = everything(this.open_http(asking(path, "Connection: close")))
            if found.startswith(b"HTTP/1.1 5") or any(one in found for one in OF_FILES):
                this.complain(f"{path} was answered {found[:60]!r}")

    this.together(SIDE_BY_SIDE, once)


@attack(VIEWERS, not_logged=SECRET)
def viewers_with_requests_by_the_thousand(this: Attack) -> None:
    """Send requests of all kinds one behind the other on forty connections, half of which read no answer."""
    data = b"".join(one + b" HTTP/1.1\r\n" + HOST + b"Range: bytes=0-\r\n\r\n" for one in PAGES)

    def flood(*, reads: bool) -> None:
        while not this.over:
            with this.may_be_cut():
                connections = [this.open_http(source=source(number)) for number in range(UNREAD // 2)]
                this.flood(connections, data, reads=reads)

    other = threading.Thread(target=flood, kwargs={"reads": False}, daemon=True)
    other.start()
    flood(reads=True)
    other.join()


@attack(VIEWERS)
def viewers_that_read_nothing(this: Attack) -> None:
    """Watch in every form on two hundred connections, and read none of it."""
    query = f"key={KEY}"
    paths = [f"/{APP}.flv?{query}", f"/{SHOWN}.mp4?{query}", f"/{SHOWN}/index.m3u8?{query}"]
    asks = [asking(path) for path in paths] + [upgrade(path) for path in paths[:2]]
    with shown(this):
        for number in range(UNREAD * len(asks)):
            this.open_http(asks[number % len(asks)], source=source(number), receive_buffer=LITTLE)
        this.watch()


@attack(VIEWERS)
def viewers_that_come_and_leave(this: Attack) -> None:
    """Begin to watch the good stream by FLV and by WebSocket and leave at once, four side by side."""

    def once() -> None:
        for data in (asking(f"/{APP}.flv?key={KEY}"), upgrade(f"/{APP}.flv?key={KEY}")):
            connection = this.open_http(data)
            connection.socket.recv(100)
            connection.close()

    this.together(SIDE_BY_SIDE, once)


@attack(VIEWERS, not_logged=SECRET)
def viewers_of_ever_new_channels(this: Attack) -> None:
    """Ask for channels that nobody publishes, in every form, a thousand times a second, and leave at once."""
    numbers = count()
    began = monotonic()

    def once() -> None:
        name = f"evil{os.getpid()}-{next(numbers)}"
        for path in (".flv?wait=1&", ".mp4?", ".jpg?", "/index.m3u8?", "?"):
            data = asking(f"/{name}{path}key={SECRET}")
            this.open_http(data, source=source(next(numbers))).close()
        if (ahead_s := began + next(numbers) / EACH_S - monotonic()) > 0:
            sleep(ahead_s)  # the rate

    this.together(SIDE_BY_SIDE, once)


@attack(VIEWERS)
def viewers_by_websocket_that_say_too_much(this: Attack) -> None:
    """Send floods of pings, of texts and of fragments over WebSockets, four side by side each."""
    texts = framed(TEXT, b"hello") * 50
    fragments = framed(TEXT, b"x", first=0) + framed(0, b"", first=0) * 200
    pings = framed(PING, b"y" * 125) * 50

    def flood(data: bytes) -> None:
        while not this.over:
            with this.may_be_cut():
                connection = this.open_http(upgrade(f"/{APP}.flv?key={KEY}"))
                connection.socket.recv(65536)
                this.flood([connection], data, reads=data is not pings)

    kinds = [threading.Thread(target=flood, args=(one,)) for one in (texts, fragments, pings) * SIDE_BY_SIDE]
    for one in kinds:
        one.start()
    for one in kinds:
        one.join()


@attack(VIEWERS)
def viewers_by_websocket_that_are_broken(this: Attack) -> None:
    """Send frames without masks, of any length, of media, half a goodbye over WebSockets; four at a time."""
    noise = random.Random(7)
    ends = (
        b"\x81\x05hello", framed(BINARY, b"FLV\x01\x05\0\0\0\x09"), framed(TEXT, b"", length=1 << 62),
        framed(PING, b"", length=126), framed(CLOSE, b"\x03"), framed(CLOSE, b"\x03\xe8")[:3],
        framed(TEXT, b"x" * 1000) * 2, framed(TEXT, b"\xff\xfe"), framed(3, b""), framed(0, b"x"),
        framed(TEXT, b"x", first=0xF0), noise.randbytes(4096),
    )  # fmt: skip

    def once() -> None:
        for data in ends:
            with this.may_be_cut():
                connection = this.open_http(upgrade(f"/{APP}.flv?key={KEY}"))
                connection.socket.recv(65536)
                connection.send(data)
                connection.socket.recv(65536)
        lines = ("Upgrade: websocket", "Connection: close, Upgrade", "Origin: http://[x")
        everything(this.open_http(asking(f"/{APP}.flv", *lines)))

    this.together(SIDE_BY_SIDE, once)


@attack(LIMITED)
def viewers_by_hls_that_wait(this: Attack) -> None:
    """Wait for three hundred playlists that do not come, ask for what there is not, each as a new viewer."""
    far = (1, 10**6, 10**12, -1)

    def once() -> None:
        for number in far:
            path = f"/{SHOWN}/live.m3u8?key={KEY}&s={os.urandom(8).hex()}&_HLS_msn={number}&_HLS_part=0"
            this.open_http(asking(path)).socket.recv(65536)

    with shown(this) as index:
        named = index.rpartition(b"\nlive.m3u8?")[2].split(b"\n")[0].decode()
        at = everything(this.open_http(asking(f"/{SHOWN}/live.m3u8?{named}", "Connection: close")))
        newest = at.count(b"#EXTINF") + int(at.partition(b"MEDIA-SEQUENCE:")[2].split()[0])
        path = f"/{SHOWN}/live.m3u8?{named}&_HLS_msn={newest + 1}"
        held = [this.open_http(asking(path), source=source(number)) for number in range(RELOADS)]
        this.together(SIDE_BY_SIDE, once)
        for one in held:
            one.close()


@attack(VIEWERS)
def viewers_of_stills(this: Attack) -> None:
    """Ask for stills of a stream as fast as can be, eight side by side."""

    def once() -> None:
        connection = this.open_http()
        for _ in range(50):
            connection.send(asking(f"/{SHOWN}.jpg?key={KEY}"))
            if not connection.socket.recv(65536):
                raise Closed("end")

    with shown(this):
        this.together(2 * SIDE_BY_SIDE, once)


@attack(VIEWERS)
def viewers_of_mp4_with_all_selections(this: Attack) -> None:
    """Publish a flood of tiny sounds that is watched as MP4 in all selections of tracks there may be."""
    app = this.app()
    publisher = this.publisher(app)
    publisher.send(whole(messages.VIDEO, AVC_HEADER) + whole(messages.AUDIO, AAC_HEADER))
    for number in range(1, MAX_SELECTIONS + 2):
        this.open_http(upgrade(f"/{app}.mp4?audio={number}&key=k"), source=source(number))
    tones = b"".join([pack(4, at, messages.AUDIO, 1, b"\xaf\1x", NO_CHUNKS) for at in range(2000)])
    with this.may_be_cut():
        this.flood([publisher], tones)
