#!/usr/bin/env python3
"""Measure whether publishers that hang in callbacks slow a channel down that is on the air.

Two servers run side by side, each with a publisher and a player; on one of them HUNG publishers wait for a
callback that never answers. Short rounds alternate between the two, so that both meet the same noise.
Prints the delay from publisher to player.

    scripts/measure_hung_callbacks.py [--hung 50] [--rounds 50] [--messages 100]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from contextlib import ExitStack

from own_python import use_venv

use_venv()

from measured_channel import Channel, percentile_ms

from tests.client import stage
from tests.doubles.callback_server import Answer, CallbackServer, accept
from tests.server_process import ServerProcess

SECRET = "measured"


def backend() -> None:
    """Be the callback server, until standard input ends: channels `hung...` get no answer."""
    with CallbackServer(SECRET) as server:
        server.answer = lambda got: Answer(hang=True) if "hung" in got.claims["channel"] else accept(got)
        print(server.port, flush=True)
        sys.stdin.read()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--hung", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--messages", type=int, default=100, help="of each round")
    parser.add_argument("--backend", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.backend:
        backend()
        return 0
    with ExitStack() as stack:
        pipe = subprocess.PIPE
        command = [sys.executable, __file__, "--backend"]
        asked = stack.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        assert asked.stdout is not None
        settings = {
            "CALLBACK_URL": f"http://127.0.0.1:{int(asked.stdout.readline())}/",
            "JWT_SECRET": SECRET,
            "CALLBACK_TIMEOUT_SECONDS": "3600",
            "CONCURRENT_LIMIT_WHITELIST": "*",
            "DRAIN_TIMEOUT_SECONDS": "1",
        }
        channels = {}
        for hung in (0, options.hung):
            server = stack.enter_context(ServerProcess(**settings))
            on = stack.enter_context(stage(server.port))
            for number in range(hung):
                client = on.client().connect(f"hung{number}")
                client.ask_publish("k", client.create_stream())
            channels[hung] = Channel(on)
            server.wait_for_line(r"PUBLISH \(1\): hung", count=hung)
        delays: dict[int, list[float]] = {hung: [] for hung in channels}
        for _ in range(options.rounds):
            for hung, channel in channels.items():
                delays[hung] += channel.delays_s(options.messages)
        for hung, all_of in delays.items():
            shown = " ".join(
                f"{name}={percentile_ms(all_of, part):.2f}"
                for name, part in (("p50", 0.5), ("p99", 0.99), ("max", 1))
            )
            print(f"{hung:3d} hung callbacks: {shown} ms ({len(all_of)} messages)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
