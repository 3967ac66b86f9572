"""One HTTP connection: requests in, each with deadlines and within bounds, answers out."""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import gevent
from gevent.lock import Semaphore
from gevent.pywsgi import WSGIHandler

from rtmpsrv.log import Logger
from rtmpsrv.web.connections import Connections, Place
from rtmpsrv.web.guard import OPEN_HERE
from rtmpsrv.web.head import BadRequest, Head, end_of, parse
from rtmpsrv.web.headers import SERVER, last_answer

HEAD_S: Final = 10.0  # for a whole head, from its first byte; on a new connection for that, too
BODY_S: Final = 10.0
IDLE_S: Final = 30.0  # between two requests
SEND_S: Final = 30.0  # for a piece of an answer to be taken
TAKE_S: Final = 10.0  # for some of it
LINGER_S: Final = 1.0  # for an error to arrive, before the connection is closed
LINGER_BYTES: Final = 1 << 18
READ_BYTES: Final = 8192
TURN_S: Final = 0.004  # of work on answers, without giving way
ROUND_S: Final = 0.0001  # a timer, for a round of the loop; with none gevent looks at sockets every 50th time
DELAY: Final = "rtmpsrv.delay_s"  # of the environment: how long an answer waits before it is sent
EVENTS: Final = "text/event-stream"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Handler(WSGIHandler):
    """Speaks with one client until either has enough. What gevent's does for answers is used as it is."""

    def __init__(
        self,
        sock: Any,
        address: tuple[Any, ...],
        application: Callable[..., Any],
        connections: Connections,
        place: Place,
        log: Logger,
        making: Semaphore,
        *,
        secure: bool,
    ) -> None:
        """Take a connection, which its giver closes. `making` has the places of answers that are made."""
        self.socket = sock
        self._client = str(address[0]), str(address[1])
        self.application = application
        self._connections = connections
        self._place = place
        self._log = log
        self._making = making
        self._is_making = False
        self._worked_s = 0.0  # on answers, since it gave way by itself
        self._scheme = "https" if secure else "http"
        self._buffer = bytearray()
        self._path = ""
        sock.settimeout(SEND_S)

    def handle(self) -> None:
        """Answer one request after the other. Blocks to the end of the connection."""
        patience_s = HEAD_S
        while self._handle_one(patience_s):
            self._connections.waits(self._place)
            patience_s = IDLE_S
            if self._worked_s >= TURN_S:  # whoever sends thousands at once is not the only one
                gevent.sleep(ROUND_S)
                self._worked_s = 0.0

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        """Add what is the same in all answers; note whether this one is without an end."""
        self._place.is_stream = any(
            name.lower() == "content-type" and value.startswith(EVENTS) for name, value in headers
        )
        delay_s = (self.environ or {}).get(DELAY, 0.0)
        if self._place.is_stream or delay_s:
            self._made()
        if delay_s:
            gevent.sleep(delay_s)
        ours = [("Server", SERVER)]
        self.close_connection = self.close_connection or self._connections.closing
        if self.close_connection and not any(name.lower() == "connection" for name, _ in headers):
            ours.append(("Connection", "close"))
        return super().start_response(status, [*headers, *ours], exc_info)

    def _sendall(self, data: bytes | bytearray) -> None:
        """Send a piece of an answer, and note how much of it waits. Blocks. Raises OSError."""
        self._made()
        left = memoryview(data)
        with gevent.Timeout(SEND_S, TimeoutError()):
            while left:
                self._connections.holds(self._place, len(left))
                with gevent.Timeout(TAKE_S, TimeoutError()):
                    left = left[self.socket.send(left) :]
        self._connections.holds(self._place, 0)
        self.response_length += len(data)

    # --- private ----------------------------------------------------------------------------------

    def _handle_one(self, patience_s: float) -> bool:
        """Answer one request; False when it was the last. Blocks."""
        try:
            head = self._read_head(patience_s)
            if head is None:
                return False
            if self._place.is_kept and head.target.partition("?")[0] not in OPEN_HERE:
                raise BadRequest(503, "too many connections")
            body = self._read_body(head)
        except BadRequest as exc:
            self._log.debug("%s refused: %s", self._client[0], exc)
            self._refuse(exc.status, str(exc))
            return False
        except OSError:  # the client is gone
            return False
        self._connections.works(self._place)
        began = monotonic()
        self.environ = self._environ(head, body)
        self.request_version = head.version
        self.close_connection = not head.keeps
        self._respond()
        self._worked_s += monotonic() - began
        self._log.debug("%s %s %s %s", self._client[0], head.method, self._path, self.code)
        return not self.close_connection

    def _read_head(self, patience_s: float) -> Head | None:
        """Wait for a request; None when none comes. Raises BadRequest, OSError."""
        buffer = self._buffer
        if not buffer:
            with gevent.Timeout(patience_s, TimeoutError()):
                buffer += self.socket.recv(READ_BYTES)
            if not buffer:
                return None
        with gevent.Timeout(HEAD_S, BadRequest(408, "the request did not come in time")):
            if buffer.startswith(b"\r\n"):  # some clients end a body so
                del buffer[:2]
            seen = 0
            while (end := end_of(buffer, seen)) < 0:
                seen = len(buffer)
                piece = self.socket.recv(READ_BYTES)
                if not piece:
                    return None
                buffer += piece
        head = bytes(buffer[:end])
        del buffer[:end]
        return parse(head)

    def _read_body(self, head: Head) -> bytes:
        """Return all of it. Raises BadRequest, OSError."""
        buffer = self._buffer
        with gevent.Timeout(BODY_S, BadRequest(408, "the body did not come in time")):
            if head.waits and len(buffer) < head.body_bytes:
                self.socket.sendall(CONTINUE)
            while len(buffer) < head.body_bytes:
                piece = self.socket.recv(READ_BYTES)
                if not piece:
                    raise ConnectionResetError
                buffer += piece
        body = bytes(buffer[: head.body_bytes])
        del buffer[: head.body_bytes]
        return body

    def _environ(self, head: Head, body: bytes) -> dict[str, Any]:
        self._path, _, query = head.target.partition("?")
        server = self.socket.getsockname()
        environ: dict[str, Any] = {
            f"HTTP_{name.upper().replace('-', '_')}": value
            for name, value in head.fields.items()
            if "_" not in name  # which would be the same as with a hyphen
        }
        for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            value = environ.pop(f"HTTP_{name}", None)
            if value is not None:
                environ[name] = value
        return environ | {
            "REQUEST_METHOD": head.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(self._path.encode("latin-1")).decode("latin-1"),
            "QUERY_STRING": query,
            "REQUEST_URI": head.target,
            "SERVER_PROTOCOL": head.version,
            "SERVER_NAME": str(server[0]),
            "SERVER_PORT": str(server[1]),
            "REMOTE_ADDR": self._client[0],
            "REMOTE_PORT": self._client[1],
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": self._scheme,
            "wsgi.input": io.BytesIO(body),
            "wsgi.input_terminated": True,
            "wsgi.errors": _Nowhere(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }

    def _respond(self) -> None:
        """Let the application answer; what goes wrong costs this connection only."""
        self.status = self.result = None
        self.code = 0
        self.headers_sent = self.response_use_chunked = self.connection_upgraded = False
        self.response_length = 0
        try:
            if self._path not in OPEN_HERE:  # others come together, and each makes a large answer
                self._is_making = self._making.acquire()
            self.run_application()
        except OSError:  # the client is gone, or takes nothing
            self.close_connection = True
        except Exception as exc:  # noqa: BLE001 - a bug of ours
            self._log.error("an answer failed: %s", described(exc))
            self.close_connection = True
            if not self.headers_sent:
                self._refuse(500, "internal error")
        finally:
            self._made()

    def _made(self) -> None:
        """Let another answer be made. Idempotent."""
        if self._is_making:
            self._is_making = False
            self._making.release()

    def _refuse(self, status: int, sentence: str) -> None:
        """Send an error, and let it arrive: what was sent to us and not read would make it be thrown away."""
        self.code = status
        with suppress(OSError, ValueError), gevent.Timeout(LINGER_S, TimeoutError()):
            self.socket.sendall(last_answer(status, sentence))
            self.socket.shutdown(1)
            left = LINGER_BYTES
            while left > 0 and (piece := self.socket.recv(READ_BYTES)):
                left -= len(piece)


class _Nowhere(io.TextIOBase):
    """Where the application may write what it likes: it may hold secrets, and is not kept."""

    def write(self, text: str) -> int:
        """Do nothing."""
        return len(text)


def described(exc: BaseException) -> str:
    """Say what an exception is and where it came from, without its text, which may hold what clients sent."""
    frames = traceback.extract_tb(exc.__traceback__ or sys.exc_info()[2])
    where = f" in {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    return f"{type(exc).__name__}{where}"
