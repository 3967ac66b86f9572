"""The command line of scripts/peers: a server, each peer in turn, and a look at the server's log."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from imagelib.report import Report

from tests.server_process import PROJECT, ServerProcess

from .in_go import try_go
from .obs import try_obs
from .obs_login import settings as settings_of_login
from .obs_login import try_login

PEERS = {"obs": try_obs, "obs-login": try_login, "go": try_go}
SETTINGS = {"obs-login": settings_of_login}  # of the server, where it needs some


def main(arguments: list[str]) -> int:
    """Try the peers that are here; 0 if none of them failed."""
    parser = argparse.ArgumentParser(prog="scripts/peers", description="Try real peers: docs/image.md.")
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"which, of {', '.join(PEERS)} (all)")
    names = parser.parse_args(arguments).peers or list(PEERS)
    report = Report()
    for name in names:
        if name not in PEERS:
            parser.error(f"no peer {name!r}")
        directory = _emptied(PROJECT / "build" / "peers" / name)
        settings = SETTINGS[name](directory) if name in SETTINGS else {}
        with ServerProcess(CONCURRENT_LIMIT_WHITELIST="*", **settings) as server:
            PEERS[name](server, directory, report)
            bad = [line for line in server.everything() if "Traceback" in line or "[ERROR]" in line]
            report.check(not bad, f"nothing wrong in the log: {len(server.everything())} lines")
    print(f"{report.failed} failed" if report.failed else "all as it should be")
    return 1 if report.failed else 0


def _emptied(directory: Path) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory
