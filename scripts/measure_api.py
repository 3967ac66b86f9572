#!/usr/bin/env python3
"""What the API costs the streams, and how fast it answers: run it on a quiet machine.

    scripts/measure_api.py [--rounds 3] [--seconds 15] [--channels 500] [--players 10] [NAME=VALUE ...]

Two loads, each on a server of its own. The first is large: how long /v3/paths/list takes, and how old the
streams' frames are (p99) while somebody asks twice a second, against while nobody does. The second has 100
channels: how much of a core it takes that a page is open and /metrics is read every 5 s. Each is measured in
turns, with and without, and the medians of the turns are compared. Exits with 1 where a bar is not met.
"""

from __future__ import annotations

import sys

from own_python import use_venv


def main() -> int:
    """Change to the project's interpreter if need be, then run the command line."""
    use_venv()
    from apilib.cost import main as run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
