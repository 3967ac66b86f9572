"""Images: bases that debootstrap makes, what buildah makes of the Dockerfile, what they say of themselves.

Everything is in a directory of the project; images that the machine has for other purposes are not seen.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

AUTHORITIES = Path("/etc/ssl/certs")  # of this machine: its network may have an authority of its own
PIP_CONF = "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n"
PYTHON_PACKAGES = "python3 python3-venv python3-dev"  # the headers are part of the image python, too
REDIS_PACKAGES = "redis-server"


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says of how it is run."""

    user: str
    workdir: str
    environment: dict[str, str]
    command: list[str]
    ports: set[int]
    healthcheck: list[str]


class Store:
    """Images under `directory`. Methods block until the command that they run has ended."""

    def __init__(self, directory: Path, suite: str) -> None:
        self.directory = directory
        self.suite = suite
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "pip.conf").write_text(PIP_CONF)

    def buildah(self, *arguments: str, shown: bool = False) -> str:
        """Run buildah; return what it prints, or leave that to the terminal."""
        places = ["--root", str(self.directory / "images"), "--runroot", str(self.directory / "run")]
        return _run(["buildah", *places, *arguments], shown)

    def has(self, name: str) -> bool:
        return name in self.buildah("images", "--format", "{{.Name}}:{{.Tag}}").split()

    def make_base(self, name: str, packages: str) -> None:
        """Make a stand-in for an official image from Debian's packages, unless there is one."""
        if self.has(name):
            return
        root = self.directory / "base"
        try:
            _run(["debootstrap", "--variant=minbase", self.suite, str(root)], shown=True)
            installation = f"apt-get install -y --no-install-recommends {packages}"
            # Nobody is to start services in there.
            prepare = (
                "printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d"
            )
            link = "command -v python3 >/dev/null && ln -sf /usr/bin/python3 /usr/local/bin/python || true"
            script = f"{prepare}; DEBIAN_FRONTEND=noninteractive {installation} && apt-get clean; {link}"
            _run(["chroot", str(root), "sh", "-ec", script], shown=True)
            container = self.buildah("from", "scratch").strip()
            self.buildah("copy", container, str(root), "/")
            path = "PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"
            self.buildah("config", "--env", path, container)
            self.buildah("commit", "--rm", container, name)
        finally:
            shutil.rmtree(root, ignore_errors=True)

    def build(self, project: Path, name: str) -> None:
        """Build the project's Dockerfile as it stands; bases are those that are here."""
        self.buildah(
            *("build", "--isolation", "chroot", "--pull-never", "--format", "docker"),
            *("--volume", f"{AUTHORITIES}:{AUTHORITIES}:ro"),
            *("--volume", f"{self.directory / 'pip.conf'}:/etc/pip.conf:ro"),
            *("--tag", name, "--file", str(project / "Dockerfile"), str(project)),
            shown=True,
        )  # fmt: skip

    def config(self, name: str) -> ImageConfig:
        described = json.loads(self.buildah("inspect", "--type", "image", name))["Docker"]["config"]
        return ImageConfig(
            user=described.get("User") or "root",
            workdir=described.get("WorkingDir") or "/",
            environment=dict(one.split("=", 1) for one in described.get("Env") or []),
            command=(described.get("Entrypoint") or []) + (described.get("Cmd") or []),
            ports={int(port.partition("/")[0]) for port in described.get("ExposedPorts") or {}},
            healthcheck=(described.get("Healthcheck") or {}).get("Test") or [],
        )


def _run(command: Sequence[str], shown: bool) -> str:
    done = subprocess.run(command, stdout=None if shown else subprocess.PIPE, text=True, check=True)
    return "" if shown else done.stdout
