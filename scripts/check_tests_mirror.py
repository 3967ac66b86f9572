"""Check that each module rtmpsrv/x/y.py has its unit tests in tests/unit/x/test_y.py."""

from __future__ import annotations

import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent

# Modules without unit tests of their own, each with the tests that cover it. Keep it short.
COVERED_ELSEWHERE: dict[str, str] = {
    "relay_partners.py": "only declarations",
    "errors.py": "only declarations; every test of a refusal uses them",
    "relayed.py": "what the relay grants; unit/test_relay.py",
    "testing.py": "sockets around an endpoint; tests/integration/test_endpoint_testing.py",
    "access/give_way.py": "only declarations",
    "av/viewing.py": "only declarations",
    "monitor/values.py": "only declarations",
    "web/shapes.py": "only declarations",
    "web/source.py": "only declarations",
    "live/clock.py": "only declarations",
    "live/limits.py": "only declarations",
    "live/making.py": "only declarations",
    "live/owner.py": "only declarations",
    "live/sink.py": "only declarations",
    "server/base_session.py": "half of both kinds of sessions; their tests, test_session.py",
    "server/feed.py": "only declarations",
    "server/held.py": "only declarations",
    "server/host.py": "only declarations",
    "server/parts.py": "only declarations",
    "server/served.py": "only declarations",
    "server/http/flv.py": "two ways into a session; tests/unit/server/http/test_session.py",
    "server/http/hearing.py": "part of a session; tests/unit/server/http/test_session.py",
    "server/http/holding.py": "part of a session; tests/unit/server/http/test_session.py",
    "server/http/request.py": "only declarations; tests/unit/server/http/test_conversation.py has one",
    "server/http/telling.py": "what a session tells; tests/unit/server/http/test_session.py",
    "playing.py": "what the relay asks; unit/test_relay.py and unit/test_watching.py",
    "server/http/secure_listener.py": "two classes joined; tests/unit/test_viewers_side.py opens it",
    "server/http/talk.py": "the other half of frames; tests/unit/server/http/test_frames.py",
    "server/http/state.py": "only declarations; tests/unit/server/http/test_session.py moves it",
}
EXEMPT = {"__init__.py", "__main__.py"}


def problems() -> list[str]:
    package = PROJECT / "rtmpsrv"
    found = []
    for module in sorted(package.rglob("*.py")):
        name = module.relative_to(package)
        test = Path("tests/unit") / name.parent / f"test_{name.name}"
        has_test = (PROJECT / test).exists()
        if str(name) in COVERED_ELSEWHERE:
            if has_test:
                found.append(f"rtmpsrv/{name} has tests now: take it off the list in {Path(__file__).name}")
        elif name.name not in EXEMPT and not has_test:
            found.append(f"rtmpsrv/{name} has no {test}")
    found += [
        f"rtmpsrv/{name} is on the list but does not exist"
        for name in COVERED_ELSEWHERE
        if not (package / name).exists()
    ]
    return found


def main() -> int:
    found = problems()
    for problem in found:
        print(problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
