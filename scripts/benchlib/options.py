"""The command line's options, and the scenarios that they make."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
from collections.abc import Iterable

from benchlib.scenarios import Scenario, presets
from benchlib.stream import MIN_CHUNK_SIZE

# scenario fields that an option of the same name overrides
OVERRIDES = (
    *("publishers", "players", "bitrate_mbit", "fps", "gop_s", "audio"),
    *("chunk_size", "seconds", "merge", "tls", "stalled", "probes", "ramp_to"),
)
STALL_S = 60.0
STALLED_SECONDS = STALL_S + 5
FIXED_NAMES = ("ours", "endpoint", "nginx", "peer")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the arguments. Ends the program when they make no sense."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if bool(options.peer) != bool(options.peer_pid):
        parser.error("--peer and --peer-pid go together")
    names = [name for name, _ in options.ours]
    if doubled := {name for name in names if names.count(name) > 1 or name in FIXED_NAMES}:
        parser.error(f"--ours: a name of its own is needed for each, unlike {', '.join(sorted(doubled))}")
    if unknown := set(options.only or ()) - {*names, *FIXED_NAMES}:
        parser.error(f"--only: no server is called {', '.join(sorted(unknown))}")
    return options


def scenarios(options: argparse.Namespace) -> list[Scenario]:
    """Give the presets that were named, or the plain one, with what other options say of them."""
    given = {name: getattr(options, name) for name in OVERRIDES if getattr(options, name) is not None}
    if given.get("stalled"):
        given.setdefault("seconds", STALLED_SECONDS)
    known = presets()
    return [
        dataclasses.replace(known.get(name, Scenario()), **given) for name in options.scenario or ["custom"]
    ]


def environment(pairs: Iterable[str]) -> dict[str, str]:
    """Make a dictionary of NAME=VALUE pairs."""
    return dict(pair.partition("=")[::2] for pair in pairs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure CPU, latency and memory of this server and of nginx-rtmp under the same load.",
    )
    _add_load(parser)
    _add_servers(parser)
    add = parser.add_argument
    add("--rounds", type=_positive, default=3, help="times that each server runs (3)")
    add(
        "--ramp-minutes", type=float, default=10.0, metavar="N", help="capacity: minutes for each server (10)"
    )
    add(
        "--patience",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="how long to wait for a quiet machine before each measurement (30)",
    )
    add("--json", metavar="FILE", help="write all rows and medians there")
    add("--no-pin", action="store_true", help="leave the placing on cores to the scheduler")
    return parser


def _add_load(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("load").add_argument
    add("--scenario", action="append", choices=sorted(presets()), help="a preset; may be given again")
    add("--publishers", type=_positive, help="number of publishers, a channel each (1)")
    add("--players", type=_positive, help="players of each publisher, probes included (300)")
    add("--bitrate", type=float, dest="bitrate_mbit", metavar="MBIT", help="video bitrate, Mbit/s (2.5)")
    add("--fps", type=float, help="video messages a second (30)")
    add("--gop", type=float, dest="gop_s", metavar="SECONDS", help="from keyframe to keyframe (2)")
    add("--audio", action="store_const", const=True, help="add audio of 128 kbit/s, 43 messages a second")
    add("--chunk-size", type=_chunk_size, metavar="BYTES", help="of the publishers (4096)")
    add("--seconds", type=float, help="length of the measured window (20)")
    add("--probes", type=_positive, help="measuring players (5 on one channel, else one each on up to 10)")
    add("--merge", type=_positive, metavar="N", help="MSG_BUFFER_SIZE of our server")
    add("--tls", action="store_const", const=True, help="RTMPS, for publishers and players")
    add("--stalled", action="store_const", const=True, help="run each server also beside a player that stops")
    add("--ramp-to", type=_positive, metavar="N", help="capacity: players at most (what descriptors allow)")


def _add_servers(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("servers").add_argument
    add(
        "--ours",
        action="append",
        type=_named_python,
        default=[],
        metavar="NAME=PYTHON",
        help="run our server also as this interpreter has it installed; may be given again",
    )
    add("--only", action="append", metavar="NAME", help="run this server alone; may be given again")
    add("--endpoint", action="store_true", help="run a relay made of the endpoint's API beside the others")
    add("--peer", metavar="ADDRESS:PORT", help="measure a server that runs already")
    add("--peer-pid", type=_positive, metavar="PID", help="its process; the whole tree below it is counted")
    add("--peer-names", choices=("live/channel", "channel/key"), default="live/channel", help="its URL form")
    add("--env", action="append", default=[], metavar="NAME=VALUE", help="a setting of our server")


def _named_python(text: str) -> tuple[str, str]:
    name, separator, python = text.partition("=")
    if not separator or not name.replace("-", "").isalnum():
        raise argparse.ArgumentTypeError(f"{text} is not NAME=PYTHON")
    found = shutil.which(python)
    if found is None:
        raise argparse.ArgumentTypeError(f"{python} is no program")
    # not resolved: the link inside a virtual environment is what makes it one
    return name, os.path.abspath(found)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


def _chunk_size(text: str) -> int:
    value = int(text)
    if not MIN_CHUNK_SIZE <= value <= 0xFFFFFF:
        raise argparse.ArgumentTypeError(f"{value} is not in {MIN_CHUNK_SIZE}..16777215")
    return value
