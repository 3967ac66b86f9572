"""A container as the kernel sees it: a process that is number 1 of its namespaces, over an image's files.

No engine: `unshare` and `chroot` do it. Containers of one `Network` share its loopback interface, and none
of this machine's; names of services are in their /etc/hosts.
"""

from __future__ import annotations

import resource
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from .store import Store

START_S = 30.0
STOP_S = 10.0  # what `docker stop` waits before it kills

# Run as process 1 of the new namespaces, then replaced by the container's own.
ENTER = """
set -e
root="$1" hosts="$2" volumes="$3"; shift 3
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
touch "$root/etc/hosts"
mount --bind "$hosts" "$root/etc/hosts"
for volume in $volumes; do
    to="$root${volume#*:}"
    mkdir -p "$to"
    mount --bind "${volume%%:*}" "$to"
    mount -o remount,bind,ro "$to"
done
exec chroot "$@"
"""


class Network:
    """A network namespace, with nobody in it but a process that sleeps. Use as a context."""

    def __init__(self) -> None:
        # As in containers of Docker, every user may bind any port.
        setting = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
        script = f"ip link set lo up; echo 0 >{setting}; echo up; exec sleep infinity"
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-ec", script], stdout=subprocess.PIPE, text=True
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "up\n":
            raise RuntimeError("no network namespace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._holder.kill()
        self._holder.wait()

    def inside(self, command: Sequence[str]) -> list[str]:
        """Return the command, to be run in there."""
        return ["nsenter", "--net", "--target", str(self._holder.pid), *command]


class Container:
    """One container; use as a context. `lines` is its output so far, once it was read by `output`."""

    def __init__(
        self,
        store: Store,
        image: str,
        network: Network,
        *,
        command: Sequence[str] = (),
        user: str = "",
        environment: Mapping[str, str] | None = None,
        volumes: Sequence[tuple[Path, str]] = (),
        files: int = 0,
        names: Sequence[str] = (),
    ) -> None:
        """Start it. `volumes` are read only, `files` is the limit of descriptors (0: as here)."""
        self._store = store
        config = store.config(image)
        self._id = store.buildah("from", "--pull-never", image).strip()
        self.root = Path(store.buildah("mount", self._id).strip())
        self._owner = _user_of(self.root, user or config.user)
        self._environment = config.environment | dict(environment or {})
        self._workdir = config.workdir
        hosts = store.directory / f"hosts-{self._id}"
        hosts.write_text("127.0.0.1 localhost " + " ".join(names) + "\n")
        (self.root / self._workdir.lstrip("/")).mkdir(parents=True, exist_ok=True)
        mounted = " ".join(f"{source}:{target}" for source, target in volumes)
        spaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--ipc", "--uts"]
        enter = ["sh", "-c", ENTER, "sh", str(self.root), str(hosts), mounted]
        self._log = (store.directory / f"log-{self._id}").open("w+")
        self._unshare = subprocess.Popen(
            network.inside([*spaces, *enter, *self._as_user(list(command) or config.command, files)]),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unshare.kill()  # and its child with it
        self._unshare.wait()
        self._log.close()
        self._store.buildah("rm", self._id)

    @property
    def first(self) -> int:
        """Return what the machine calls the container's process 1."""
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
        return int(children.read_text().split()[0])

    def output(self) -> str:
        """Return all that was printed."""
        return Path(self._log.name).read_text()

    def wait_for(self, text: str) -> bool:
        """Wait until the container has printed this; False if it did not in time, or ended."""
        until = time.monotonic() + START_S
        while text not in self.output():
            if time.monotonic() > until or self._unshare.poll() is not None:
                return text in self.output()
            time.sleep(0.1)
        return True

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in the container, as its user and with its environment: docker exec."""
        target = ["nsenter", "--mount", "--pid", "--net", "--ipc", "--uts", "--target", str(self.first)]
        whole = [*target, "chroot", *self._as_user(command, 0)]
        return subprocess.run(whole, capture_output=True, text=True, timeout=START_S, check=False)

    def stop(self) -> tuple[int, float]:
        """Send SIGTERM to process 1; return the exit code and the seconds that it took: docker stop."""
        began = time.monotonic()
        subprocess.run(["kill", f"-{signal.SIGTERM}", str(self.first)], check=True)
        try:
            code = self._unshare.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._unshare.kill()
            code = self._unshare.wait()
        return code, time.monotonic() - began

    def _as_user(self, command: Sequence[str], files: int) -> list[str]:
        """Return the arguments of chroot that run a command as the container's user."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = min(files or soft, hard)
        variables = [f"{name}={value}" for name, value in self._environment.items()]
        shell = ["sh", "-c", f'ulimit -n {limit}; cd "$0" && exec "$@"', self._workdir]
        user = [f"--userspec={self._owner}", "--groups=", str(self.root)]
        return [*user, "env", "-i", *variables, *shell, *command]


def _user_of(root: Path, user: str) -> str:
    """Return user and group as numbers, as the image's own /etc/passwd has them."""
    if ":" in user:
        return user
    for line in (root / "etc/passwd").read_text().splitlines():
        name, _, uid, gid, *_ = line.split(":")
        if user in (name, uid):
            return f"{uid}:{gid}"
    raise ValueError(f"no user {user!r} in the image")
