"""A load client of HTTP-FLV: asks for a channel, reads the head of the answer, then tags.

It stands where `rtmpclient.Client` stands: the same stages, the same sockets.
"""

from __future__ import annotations

import socket

from benchlib.rtmpclient import MEDIA, RECEIVE_BUFFER, RECEIVE_BYTES, WAIT_S, ClientError, Message, Target

FILE_HEADER = 9 + 4  # bytes, the first back pointer included
TAG_HEADER = 11
BACK_POINTER = 4
MAX_HEAD = 16_384  # bytes of the answer's head


class FlvClient:
    """One viewer; blocking until `go`."""

    acknowledges = False

    def __init__(
        self, target: Target, channel: int, head_bytes: int = 0, receive_buffer: int = RECEIVE_BUFFER
    ) -> None:
        """Connect. Blocks up to `WAIT_S`."""
        self.channel = channel
        name, key = target.names(channel)
        self._path, self._query = f"/{name}.flv", f"?key={key}"
        self._host = f"{target.host}:{target.http_port}"
        self._head_bytes = head_bytes
        self._unread = b""
        self._chunked: Chunks | None = None
        self._begun = False  # the header of the file was read
        self.raw = socket.socket(socket.AF_INET6 if ":" in target.host else socket.AF_INET)
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.raw.settimeout(WAIT_S)
        self.raw.connect((target.host, target.http_port))
        self.sock = self.raw

    def command_connect(self) -> None:
        """Ask for the stream."""
        self.raw.sendall(f"GET {self._path}{self._query} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())

    def command_play(self) -> None:
        """Nothing more is to be said."""

    def go(self) -> None:
        """Wait for the head of the answer; the socket never blocks from here on."""
        data = b""
        while b"\r\n\r\n" not in data:
            try:
                more = self.raw.recv(RECEIVE_BYTES)
            except OSError as exc:
                raise ClientError(f"{self._path}: {exc}") from exc
            data += more
            if not more or len(data) > MAX_HEAD + RECEIVE_BYTES:
                raise ClientError(f"{self._path}: no answer")
        head, self._unread = data.split(b"\r\n\r\n", 1)
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ClientError(f"{self._path}: {head.splitlines()[0].decode('latin-1')}")
        if b"transfer-encoding: chunked" in head.lower():
            self._chunked = Chunks()
            self._unread = self._chunked.take(self._unread)
        self.raw.setblocking(False)

    def messages(self) -> list[Message]:
        """Read once and give the tags completed by it; the first time, what came before as well."""
        try:
            data = self.raw.recv(RECEIVE_BYTES)
        except BlockingIOError:
            data = None
        except OSError as exc:
            raise ClientError(f"connection lost: {exc}") from exc
        if data == b"":
            raise ClientError("closed by the server")
        if data and self._chunked is not None:
            data = self._chunked.take(data)
        unread, at = self._unread + (data or b""), 0
        if not self._begun and len(unread) >= FILE_HEADER:
            self._begun, at = True, FILE_HEADER
        taken: list[Message] = []
        while self._begun and len(unread) >= at + TAG_HEADER:
            size = int.from_bytes(unread[at + 1 : at + 4])
            end = at + TAG_HEADER + size + BACK_POINTER
            if len(unread) < end:
                break
            body, type_id = at + TAG_HEADER, unread[at]
            kept = min(size, self._head_bytes) if type_id in MEDIA else size
            taken.append((type_id, size, unread[body : body + kept]))
            at = end
        self._unread = unread[at:]
        return taken

    def close(self) -> None:
        """Close without a word, as a lost player does."""
        self.raw.close()


class Chunks:
    """Takes the frames of chunked transfer away."""

    def __init__(self) -> None:
        self._left = 0  # bytes of a chunk to come, and its end of line
        self._line = b""

    def take(self, data: bytes) -> bytes:
        """Return the content of what came."""
        content: list[bytes] = []
        while data:
            if not self._left:
                line, found, data = (self._line + data).partition(b"\r\n")
                self._line = b"" if found else line
                if found:
                    self._left = int(line, 16) + 2
                continue
            piece, data = data[: self._left], data[self._left :]
            self._left -= len(piece)
            content.append(piece[: len(piece) - max(0, 2 - self._left)])
        return b"".join(content)
