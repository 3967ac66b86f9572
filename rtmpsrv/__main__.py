"""Entry point of the stand-alone server: `python -m rtmpsrv` and the console script `rtmpsrv`."""

from rtmpsrv.patching import patch_all

patch_all()

import sys

from rtmpsrv.command_line import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
