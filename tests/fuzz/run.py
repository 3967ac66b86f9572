"""Fuzz the protocol core for long: `python -m tests.fuzz.run --count 1000000`.

Prints progress; stops at the first failure with the seed that repeats it (`--start SEED --count 1`) and
the input in hexadecimal, to be kept under tests/wire once it is mended.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from time import monotonic

from tests.fuzz.core import captures, case, check_case

_REPORT_EVERY_S = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="how many inputs")
    parser.add_argument("--start", type=int, default=0, help="the seed of the first one")
    arguments = parser.parse_args()
    corpus = captures()
    began = reported = monotonic()
    for seed in range(arguments.start, arguments.start + arguments.count):
        data = case(seed, corpus)
        try:
            check_case(data, seed)
        except Exception:  # noqa: BLE001  whatever comes out is what this looks for
            traceback.print_exc()
            print(f"seed {seed}\n{data.hex()}", file=sys.stderr)  # noqa: T201
            return 1
        now = monotonic()
        if now - reported > _REPORT_EVERY_S:
            reported = now
            done = seed - arguments.start + 1
            print(f"{done} of {arguments.count}, {done / (now - began):.0f}/s", flush=True)  # noqa: T201
    print(f"{arguments.count} inputs, nothing found")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
