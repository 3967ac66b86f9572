"""Entry point of the stand-alone server: `python -m rtmpsrv` and the console script `rtmpsrv`."""

from gevent import monkey

monkey.patch_all()

import sys

from rtmpsrv.command_line import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
