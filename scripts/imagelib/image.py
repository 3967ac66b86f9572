"""The image by itself: what it holds, its user, health, publish and play, RTMPS on port 443, SIGTERM."""

from __future__ import annotations

import subprocess
from pathlib import Path

from . import media
from .container import STOP_S, Container, Network
from .report import Report
from .store import Store

LISTENING = "Listening on 0.0.0.0:1935"
URL = "rtmp://127.0.0.1/channel/key"
STATUS = (
    "import os; print(os.getuid()); print([l for l in open('/proc/1/status') if l.startswith('CapEff')][0])"
)
BUILD = "from rtmpsrv.build import compiled; print(compiled())"


def try_image(store: Store, name: str, project: Path, film: Path, report: Report) -> None:
    """Run a container of the image and look at all of that. Blocks for some 15 s."""
    config = store.config(name)
    report.check(config.ports == {1935, 443, 8080}, f"ports {sorted(config.ports)}, command {config.command}")
    certificates = store.directory / "certificates"
    make = [str(project / "scripts/make_certificate"), "-o", str(certificates)]
    subprocess.run(make, check=True, capture_output=True)
    (certificates / "privkey.pem").chmod(0o644)  # the image's user is nobody on this machine
    tls = {"SSL_CERT": "/certs/fullchain.pem", "SSL_KEY": "/certs/privkey.pem"}
    with (
        Network() as network,
        Container(store, name, network, environment=tls, volumes=[(certificates, "/certs")]) as server,
    ):
        _try_start(server, config.healthcheck, report)
        publish_and_play(network, film, URL, report)
        secure = media.encoder(network, film, URL.replace("rtmp:", "rtmps:"))
        report.check(secure.wait(media.WAIT_S) == 0, "published by RTMPS, on port 443, without root")
        code, seconds = server.stop()
        good = code == 0 and seconds < STOP_S and "Traceback" not in server.output()
        report.check(good, f"SIGTERM: exit code {code} after {seconds:.1f} s")


def _try_start(server: Container, healthcheck: list[str], report: Report) -> None:
    kind, *health = healthcheck
    report.check(server.wait_for(LISTENING), LISTENING)
    report.check(kind == "CMD" and server.run(health).returncode == 0, "healthy once it listens")
    for wrong in ("API_PORT=9", "RTMP_PORT=9"):
        nobody = server.run(["env", "API_PORT=0", wrong, *health])
        report.check(nobody.returncode != 0, f"not healthy where nobody listens ({wrong})")
    report.check(server.run([*health, "readyz"]).stdout.strip() == "ready", "ready, as /readyz has it")
    uid, capabilities = server.run(["python", "-c", STATUS]).stdout.split("\n")[:2]
    nothing = int(capabilities.split()[-1], 16) == 0
    report.check(
        uid != "0" and nothing, f"process 1 is user {uid}, {capabilities.split()[-1]} as capabilities"
    )
    command = server.run(["cat", "/proc/1/cmdline"]).stdout.replace("\0", " ").strip()
    report.check(command.endswith("-m rtmpsrv"), f"process 1 is {command}")
    compiled = server.run(["python", "-c", BUILD]).stdout.strip()
    compiler = server.run(["sh", "-c", "command -v gcc cc"]).stdout.strip()
    report.check(
        compiled == "True" and not compiler, f"compiled: {compiled}, a compiler in it: {compiler or 'no'}"
    )


def publish_and_play(network: Network, film: Path, url: str, report: Report) -> None:
    """Let a player wait, publish, and see that it got every packet."""
    watching = media.player(network, url)
    try:
        published = media.encoder(network, film, url).wait(media.WAIT_S)
        seen, _ = watching.communicate(timeout=media.WAIT_S)
    finally:
        watching.kill()
    got, sent = media.digests(seen), media.packets(str(film))
    # The player may have come after the first of them.
    good = published == 0 and set(got) <= set(sent) and len(got) > len(sent) / 2
    report.check(good, f"published and played {url.rpartition('/')[0]}: {len(got)} of {len(sent)} packets")
