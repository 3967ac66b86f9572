"""Entry point of the web process, which a process that serves starts: `python -m rtmpsrv.web`."""

from rtmpsrv.patching import patch_all

patch_all()

import logging
import sys
from typing import TextIO, cast

import gevent

from rtmpsrv import log
from rtmpsrv.standard_streams import open_standard_streams
from rtmpsrv.web.life import heed_signals, inherited


def main() -> int:
    """Serve to the end; return the exit code: 1 when nobody has started this process as it must be."""
    open_standard_streams()
    log.setup()
    gevent.get_hub().exception_stream = cast(TextIO, log.ErrorStream())
    try:
        life = inherited()
    except OSError:
        log.get().error("python -m rtmpsrv.web is started by the server, where somebody asks")
        return 1
    heed_signals(life)
    life.run()
    logging.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
