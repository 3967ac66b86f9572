"""The command line of scripts/build_image: what is needed, then base, image, and each way to run it."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import time
from pathlib import Path

from .compose import try_compose
from .image import try_image
from .media import make_film
from .report import Report
from .store import PYTHON_PACKAGES, REDIS_PACKAGES, Store

PROJECT = Path(__file__).resolve().parents[2]
IMAGE = "localhost/rtmpsrv:latest"
REDIS = "docker.io/library/redis:7-alpine"
UNTRIED = {"docker-compose.https.yml": "Caddy is in no package here, and asks for certificates"}
TOOLS = {
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "ffmpeg": "ffmpeg",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "openssl": "openssl",
}


def main(arguments: list[str]) -> int:
    """Build, try, print; 0 if all was as it should be."""
    parser = argparse.ArgumentParser(
        prog="scripts/build_image",
        description="Build the image without a Docker engine, and try it: docs/image.md.",
    )
    parser.add_argument("--suite", default="bookworm", help="of Debian, for the bases (bookworm)")
    parser.add_argument("--only-build", action="store_true", help="do not run anything")
    parser.add_argument("--keep", action="store_true", help="keep bases and image in build/image")
    options = parser.parse_args(arguments)
    missing = [package for tool, package in TOOLS.items() if not shutil.which(tool)]
    if os.geteuid() != 0 or missing:
        needed = f"apt-get install --no-install-recommends {' '.join(missing)}" if missing else "to be root"
        print(f"scripts/build_image needs: {needed}", file=sys.stderr)
        return 2
    directory = PROJECT / "build" / "image"
    store, report = Store(directory, options.suite), Report()
    try:
        _build(store, report)
        if not options.only_build:
            film = make_film(directory / "film.flv")
            try_image(store, IMAGE, PROJECT, film, report)
            store.make_base(REDIS, REDIS_PACKAGES)
            for path in sorted((PROJECT / "config").glob("docker-compose*.yml")):
                if path.name in UNTRIED:
                    report.note(f"{path.name} is not tried: {UNTRIED[path.name]}")
                else:
                    try_compose(store, path, IMAGE, film, report)
    finally:
        if not options.keep:
            store.buildah("rm", "--all")
            store.buildah("rmi", "--all", "--force")
            shutil.rmtree(directory, ignore_errors=True)
    print(f"{report.failed} failed" if report.failed else "all as it should be")
    return 1 if report.failed else 0


def _build(store: Store, report: Report) -> None:
    bases = set(re.findall(r"^FROM (\S+)", (PROJECT / "Dockerfile").read_text(), re.MULTILINE))
    for base in bases:
        store.make_base(f"docker.io/library/{base}", PYTHON_PACKAGES)
        report.note(
            f"Debian {store.suite} with its own Python stands in for {base}, which no registry was asked for"
        )
    began = time.monotonic()
    store.build(PROJECT, IMAGE)
    report.check(store.has(IMAGE), f"the Dockerfile builds, in {time.monotonic() - began:.0f} s")
