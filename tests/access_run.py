"""The server with everything in its log, and ffmpeg as its encoder: what the tests of who may publish share.

Each run ends with a look at the whole log, which must hold neither a secret nor a bug.
"""

from __future__ import annotations

import subprocess
from itertools import pairwise
from types import TracebackType
from urllib.parse import quote

from rtmpsrv.protocol import messages
from rtmpsrv.protocol.messages import Message
from tests.client import Client, Stage
from tests.doubles import secrets
from tests.doubles.secrets import KEY
from tests.media_files import system_tool
from tests.server_process import ServerProcess

ENCODER_S = 15.0  # for ffmpeg to end
FRAME_MS = 100
REFUSED = "Invalid stream key provided"
TAKEN = "Stream already publishing"


class AccessServer(ServerProcess):
    """Logs at TRACE level; leaving it checks the log."""

    def __init__(self, **settings: str) -> None:
        wide = {"LOG_DEBUG": "YES", "LOG_TRACE": "YES", "CONCURRENT_LIMIT_WHITELIST": "*"}
        super().__init__(**(wide | settings))

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, exc, trace)
        if kind is None:
            self.check_log()

    def check_log(self) -> None:
        """Fail if the log holds a secret, or shows a bug."""
        lines = self.everything()
        assert len(lines) > 3
        assert leaks(lines) == []
        bad = [line for line in lines if "Traceback" in line or "internal error" in line]
        assert not bad, "\n".join(lines[-60:])


def leaks(lines: list[str], extra: tuple[str, ...] = ()) -> list[str]:
    """Return the lines that hold a secret of the tests, as it is or as URLs write it."""
    wanted = {form for secret in secrets.ALL + extra for form in (secret, quote(secret, safe=""))}
    return [line for line in lines if any(secret in line for secret in wanted)]


class Encoder:
    """ffmpeg, publishing ten small pictures a second in real time, a keyframe each second."""

    def __init__(self, port: int, channel: str, key: str = KEY) -> None:
        source = f"testsrc2=size=160x90:rate={1000 // FRAME_MS}"
        coding = "-c:v libx264 -preset ultrafast -tune zerolatency -g 10 -pix_fmt yuv420p -f flv"
        self.process = subprocess.Popen(
            [
                *(system_tool("ffmpeg"), "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", source),
                *(*coding.split(), f"rtmp://127.0.0.1:{port}/{channel}/{key}"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Encoder:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=ENCODER_S)

    def ended(self) -> tuple[int, str]:
        """Wait for its end; return the exit code and what it said."""
        _, said = self.process.communicate(timeout=ENCODER_S)
        return self.process.returncode, said

    def leave(self) -> None:
        """Let it end its stream as an operator does who stops it."""
        self.process.terminate()
        self.ended()


def refusal(on: Stage, channel: str, key: str = KEY, timeout_s: float = 5) -> str:
    """Publish in vain: return how the refusal begins, after which the server closes."""
    client = ask(on, channel, key)
    return refusal_of(client, timeout_s)


def ask(on: Stage, channel: str, key: str = KEY) -> Client:
    """Ask to publish and do not wait for the answer."""
    client = on.client().connect(channel)
    client.ask_publish(key, client.create_stream())
    return client


def refusal_of(client: Client, timeout_s: float = 5) -> str:
    """Return how the refusal that must come begins, and see the connection close."""
    status = client.expect_status("NetStream.Publish.BadName", timeout_s)
    client.expect_closed()
    return str(status["description"]).partition(": ")[0]  # why follows, differently for each authority


def pictures(player: Client, count: int) -> list[Message]:
    """Return the next coded pictures that a player gets."""
    found: list[Message] = []
    while len(found) < count:
        _, message = player.read_until(lambda one: one.type_id == messages.VIDEO and one.payload[1] == 1)
        found.append(message)
    return found


def gaps(shown: list[Message]) -> set[int]:
    """Return the distances between pictures, in ms: of an encoder's, exactly FRAME_MS where none is lost."""
    return {after.timestamp - before.timestamp for before, after in pairwise(shown)}
