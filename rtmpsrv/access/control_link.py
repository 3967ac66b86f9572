"""One connection to the control server and what belongs to it alone: it dies with the connection.

That is the requests without an answer, the requests given up, and the queue of the one greenlet that
writes. Who connects, and connects again, is in coordinator.py; what a message looks like is in
control_messages.py. However much comes, the reader gives way to others, and what is wrong with a message or a
frame costs that one only.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import gevent
import gevent.queue
import websocket
from gevent.event import AsyncResult, Event
from websocket import ABNF

from rtmpsrv.access import control_messages as messages
from rtmpsrv.access.backoff import describe
from rtmpsrv.access.control_messages import ControlMessage
from rtmpsrv.access.gate import PublishRequest
from rtmpsrv.access.give_way import Share
from rtmpsrv.access.reading import MeteredSocket, spend_on_read
from rtmpsrv.log import Logger, RateLimited

CLOSE_TIMEOUT_S = 1.0
MAX_MESSAGE_BYTES = 1 << 20
MAX_QUEUED = 10_000  # messages that wait for the writer
MAX_GIVEN_UP = 10_000  # requests whose late answer is still awaited
MAX_QUOTED = 200  # characters of a remote text in the log

LINK_ERRORS = (OSError, ValueError, websocket.WebSocketException)


class ControlSocket(websocket.WebSocket):
    """A websocket that gives way while it reads, whose reader never writes, and with a limit for messages."""

    def __init__(self, sslopt: dict[str, Any] | None, share: Share) -> None:
        self._share = share
        self._metered: MeteredSocket | None = None
        self.on_ping: Callable[[bytes], None] = lambda payload: None
        # The library checks each character in Python: 1 MiB would take it a quarter of a second.
        super().__init__(sslopt=sslopt, skip_utf8_validation=True)

    @property  # type: ignore[override]  # it stands for the socket in the library's attribute
    def sock(self) -> MeteredSocket | None:
        """The connection, assigned before the handshake; all that is read from it is work for the share."""
        return self._metered

    @sock.setter
    def sock(self, plain: Any) -> None:
        took = functools.partial(spend_on_read, self._share)
        self._metered = None if plain is None else MeteredSocket(plain, took)

    def pong(self, payload: str | bytes = b"") -> None:
        """Leave the answer to a ping to the greenlet that writes."""
        self.on_ping(payload if isinstance(payload, bytes) else payload.encode())

    def send_close(self, status: int = 1000, reason: str | bytes = b"") -> None:
        """Do not answer a close frame from the reader; the link hangs up anyway."""

    def _recv(self, bufsize: int) -> bytes:
        started = self.cont_frame.cont_data
        held_bytes = len(started[1]) if started else 0
        if held_bytes + (self.frame_buffer.length or 0) > MAX_MESSAGE_BYTES:
            raise websocket.WebSocketPayloadException(f"message above {MAX_MESSAGE_BYTES} bytes")
        data: bytes = super()._recv(bufsize)  # type: ignore[no-untyped-call]  # the library has no hint here
        return data


class ControlLink:
    """One connection. `run` serves it; every other method but `hang_up` never blocks."""

    def __init__(
        self, socket: ControlSocket, log: Logger, on_stream_kill: Callable[[str, str | None], bool]
    ) -> None:
        self._socket = socket
        self._log = log
        self._on_stream_kill = on_stream_kill
        self._waiting: dict[int, AsyncResult[str | None]] = {}
        self._given_up: dict[int, str] = {}  # request id to channel, oldest first
        self._queue: gevent.queue.Queue[tuple[bytes, int]] = gevent.queue.Queue(MAX_QUEUED)
        self._pong: bytes | None = None  # the answer to the newest ping, while it waits for the writer
        self._end: AsyncResult[str] = AsyncResult()
        self._last_frame = time.monotonic()
        self.written = Event()
        self.written.set()
        socket.on_ping = self._answer_ping
        self._bad_frames = RateLimited(lambda count: log.warning("%d frames that are wrong ignored", count))
        self._bad_texts = RateLimited(
            lambda count: log.warning("%d messages that are no UTF-8 ignored", count)
        )
        self._bad_ids = RateLimited(
            lambda count: log.warning("%d answers with an unusable Request-ID ignored", count)
        )
        self._unknown = RateLimited(lambda count: log.debug("%d unknown messages ignored", count))
        self._missed = RateLimited(lambda count: log.debug("%d STREAM-KILL for nothing on the air", count))
        self._errors = RateLimited(self._tell_remote_error)
        self._remote_error = ("", "")
        self._handlers: dict[str, Callable[[ControlMessage], None]] = {
            messages.HEARTBEAT: lambda message: None,
            messages.ERROR: self._take_error,
            messages.PUBLISH_ACCEPT: self._take_accept,
            messages.PUBLISH_DENY: self._take_refusal,
            messages.STREAM_KILL: self._take_kill,
        }

    def run(self, heartbeat_s: float, silence_s: float) -> str:
        """Serve the link until it ends; return why it did. Blocks."""
        # Bounds a write that the peer does not read; longer than the silence, which is measured in frames
        # below.
        self._socket.settimeout(2 * silence_s)
        self._last_frame = time.monotonic()
        workers: list[gevent.Greenlet[..., None]] = [
            gevent.spawn(self._read),
            gevent.spawn(self._write, heartbeat_s),
        ]
        try:
            while True:
                left_s = self._last_frame + silence_s - time.monotonic()
                if left_s <= 0:
                    return f"silent for {silence_s:g} s"
                self._end.wait(left_s)
                if self._end.ready():
                    return str(self._end.get())
        finally:
            gevent.killall(workers, timeout=CLOSE_TIMEOUT_S)

    def ask(self, request_id: int, request: PublishRequest) -> AsyncResult[str | None]:
        """Queue a request; the result is the stream id, or None for a refusal."""
        parameters = {
            "Request-ID": str(request_id),
            "Stream-Channel": request.channel,
            "Stream-Key": request.key,
            "User-IP": request.client_ip,
        }
        self._send_text(messages.render(messages.PUBLISH_REQUEST, parameters))
        answer: AsyncResult[str | None] = AsyncResult()
        self._waiting[request_id] = answer
        return answer

    def abandon(self, request_id: int, channel: str, answer: AsyncResult[str | None]) -> None:
        """Give a request up; an ACCEPT that has come unused, or comes later, is taken back."""
        if answer.ready():
            if answer.value is not None:
                self.send_end(channel, answer.value)
            return
        self._waiting.pop(request_id, None)
        if len(self._given_up) >= MAX_GIVEN_UP:
            del self._given_up[next(iter(self._given_up))]
        self._given_up[request_id] = channel

    def send_end(self, channel: str, stream_id: str) -> None:
        """Queue a PUBLISH-END. It goes out before any request that is queued after it."""
        parameters = {"Stream-Channel": channel, "Stream-ID": stream_id}
        self._send_text(messages.render(messages.PUBLISH_END, parameters))

    def refuse_all(self) -> None:
        """Answer every waiting request with a refusal: the link is gone."""
        for answer in self._waiting.values():
            answer.set(None)
        self._waiting.clear()

    def hang_up(self) -> None:
        """Say good-bye and close the socket. Blocks for `CLOSE_TIMEOUT_S` at most.

        Closing a socket with unread bytes in it would destroy what was just written, hence the good-bye.
        """
        try:
            self._socket.settimeout(CLOSE_TIMEOUT_S)
            self._socket.close(timeout=CLOSE_TIMEOUT_S)
        except LINK_ERRORS as exc:
            self._log.debug("closed without good-bye (%s)", describe(exc))
        finally:
            self._socket.shutdown()  # type: ignore[no-untyped-call]  # the library has no hint here

    def _send_text(self, text: str) -> None:
        self._send(text.encode(), ABNF.OPCODE_TEXT)

    def _send(self, payload: bytes, opcode: int) -> None:
        self.written.clear()
        try:
            self._queue.put_nowait((payload, opcode))
        except gevent.queue.Full:
            self._end_with(f"{MAX_QUEUED} messages wait to be written")

    def _end_with(self, reason: str) -> None:
        if not self._end.ready():
            self._end.set(reason)

    def _answer_ping(self, payload: bytes) -> None:
        """Answer the newest ping only, which suffices (RFC 6455, 5.5.3): a flood of them fills no queue."""
        if self._pong is None:
            self._send(b"", ABNF.OPCODE_PONG)
        self._pong = payload

    def _write(self, heartbeat_s: float) -> None:
        beat_at = time.monotonic() + heartbeat_s
        try:
            while True:
                left_s = beat_at - time.monotonic()
                if left_s <= 0:
                    beat_at += heartbeat_s
                    payload, opcode = messages.HEARTBEAT.encode(), ABNF.OPCODE_TEXT
                else:
                    try:
                        payload, opcode = self._queue.get(timeout=left_s)
                    except gevent.queue.Empty:
                        continue
                if opcode == ABNF.OPCODE_PONG:
                    payload, self._pong = self._pong or b"", None
                self._socket.send(payload, opcode)
                if self._queue.empty():
                    self.written.set()
        except LINK_ERRORS as exc:
            self._end_with(f"cannot write ({describe(exc)})")

    def _read(self) -> None:
        try:
            while not self._end.ready():
                self._read_message()
        except LINK_ERRORS as exc:
            self._end_with(f"cannot read ({describe(exc)})")
        finally:
            self._end_with("internal error")  # a greenlet that dies of a bug must not leave a link half alive

    def _read_message(self) -> None:
        try:
            opcode, frame = self._socket.recv_data_frame(control_frame=True)
        except websocket.WebSocketProtocolException:
            # It was read whole, so the next one begins where it must.
            self._bad_frames.add()
            return
        self._last_frame = time.monotonic()
        if opcode == ABNF.OPCODE_CLOSE:
            self._end_with("closed by the control server")
        elif opcode == ABNF.OPCODE_TEXT:
            self._take(frame.data)

    def _take(self, data: bytes) -> None:
        try:
            message = messages.parse(data.decode())
        except UnicodeDecodeError:
            self._bad_texts.add()
            return
        handler = self._handlers.get(message.kind)
        if handler is None:
            self._unknown.add()
            return
        handler(message)

    def _take_error(self, message: ControlMessage) -> None:
        self._remote_error = message.get("Error-Code"), message.get("Error-Message")
        self._errors.add()

    def _tell_remote_error(self, count: int) -> None:
        code, text = self._remote_error
        self._log.error(
            "Remote error code=%r message=%r count=%d", code[:MAX_QUOTED], text[:MAX_QUOTED], count
        )

    def _take_accept(self, message: ControlMessage) -> None:
        request_id = message.request_id()
        if request_id is None:
            # The reference drops the link here, and with it all publishers; one message is not worth that.
            self._bad_ids.add()
            return
        stream_id = message.get("Stream-ID")
        answer = self._waiting.pop(request_id, None)
        if answer is not None:
            answer.set(stream_id)
        elif request_id in self._given_up:
            # The publisher is gone; without this the control server keeps a ghost.
            channel = self._given_up.pop(request_id)
            self._log.debug("late accept taken back channel=%s stream_id=%s", channel, stream_id)
            self.send_end(channel, stream_id)

    def _take_refusal(self, message: ControlMessage) -> None:
        request_id = message.request_id()
        if request_id is None:
            # The reference drops the link here, and with it all publishers; one message is not worth that.
            self._bad_ids.add()
            return
        self._given_up.pop(request_id, None)
        answer = self._waiting.pop(request_id, None)
        if answer is not None:
            answer.set(None)

    def _take_kill(self, message: ControlMessage) -> None:
        channel, stream_id = message.get("Stream-Channel"), message.get("Stream-ID")
        if self._on_stream_kill(channel, None if stream_id in ("", "*") else stream_id):
            self._log.debug("STREAM-KILL channel=%r", channel[:MAX_QUOTED])
        else:
            self._missed.add()
