"""The real server in a process of its own whose monitor is asked over a socket, without a web process.

`python -m tests.monitored_process` is the program: settings from the environment, the socket in MONITOR.
"""

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()

import os
import signal
import sys
import tempfile
from types import TracebackType
from typing import Any

import gevent

from rtmpsrv import log
from rtmpsrv.app import App
from rtmpsrv.config import Config
from rtmpsrv.monitor.packing import unpack
from rtmpsrv.workers import doors
from rtmpsrv.workers.calls import Calls
from rtmpsrv.workers.wire import Wire
from tests.server_process import ServerProcess

ASK_S = 10.0


def serve(path: str) -> int:
    """Serve until SIGTERM, and answer whoever connects. Blocks."""
    log.setup()
    config, _ = Config.start()
    log.setup(config)
    app = App(config)
    calls = {"monitor": app.monitor.answer}

    def welcome(sock: Any) -> None:
        gevent.spawn(Calls(Wire(sock), log.get("MONITOR"), {}, calls).serve)

    answering = gevent.spawn(doors.accept, doors.listen(path), welcome)
    gevent.signal_handler(signal.SIGTERM, app.stop)
    app.start()
    code = app.run()
    answering.kill()
    return code


class MonitoredServer(ServerProcess):
    """Use as a context. The questions are those of `rtmpsrv.monitor.monitor`."""

    module = "tests.monitored_process"

    def __init__(self, **settings: str) -> None:
        self._folder = tempfile.TemporaryDirectory(dir="/tmp")  # a socket's path has to be short
        path = os.path.join(self._folder.name, "monitor")
        self.answers: list[bytes] = []  # all that were given, as they came
        try:
            super().__init__(MONITOR=path, **settings)
            self._line = Calls(doors.connect(path), log.get("TEST"), {}, {})
        except BaseException:
            self._folder.cleanup()
            raise
        self._reading = gevent.spawn(self._line.serve)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, exc, trace)
        finally:
            self._line.close()
            self._reading.join(ASK_S)
            self._folder.cleanup()

    def ask(self, what: str, *arguments: Any) -> Any:
        """Ask something, and return the answer. Blocks."""
        self.answers.append(self._line.call("monitor", what, arguments, timeout_s=ASK_S))
        return unpack(self.answers[-1])


if __name__ == "__main__":
    sys.exit(serve(os.environ["MONITOR"]))
