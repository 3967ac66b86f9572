"""Entry point of the process of FFmpeg's libraries, which one that serves starts: `python -m rtmpsrv.av`."""

import os

# Whoever started the server may have left it descriptors that each new program inherits: sockets that listen,
# files. None is for this process, but its streams and the wire, number 3; nothing of ours is open yet.
os.closerange(4, os.sysconf("SC_OPEN_MAX"))

from rtmpsrv.patching import patch_all

patch_all()

import logging
import sys

from rtmpsrv import log
from rtmpsrv.av.life import Life, inherited, restrict
from rtmpsrv.standard_streams import open_standard_streams


def main() -> int:
    """Answer to the end; return the exit code: 1 when nobody has started this process as it must be."""
    open_standard_streams()
    log.setup()
    log.name_process("AV")
    try:
        wire = inherited()
    except OSError:
        log.get().error("python -m rtmpsrv.av is started by the server, where somebody watches")
        return 1
    restrict()
    from rtmpsrv.av.first_part import first_part, picture  # loads FFmpeg

    Life(wire, log.get(), first_part, picture).run()
    logging.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
