"""The order of files, for runs in several processes: a long one at the end would keep everybody waiting."""

from __future__ import annotations

from collections import Counter

import pytest

# Files whose tests take long, each beside others of many short ones. What is not named here comes after them.
FIRST = (
    "test_succession_viewers.py",
    "test_page.py",
    "test_docs.py",
    "test_endpoint_registrations.py",
    "test_api_schema.py",
    "test_docs_commands.py",
    "test_media_hostile.py",
    "test_commands.py",
    "test_clients.py",
    "test_channels.py",
    "test_workers_viewers.py",
    "test_api.py",
    "test_keepers.py",
    "test_process.py",
    "test_hls_changes.py",
    "test_workers.py",
    "test_page_live.py",
    "test_connection.py",
    "test_succession_ffmpeg.py",
    "test_admin.py",
    "test_endpoint_soak.py",
    "test_recordings.py",
    "test_mp4_viewers.py",
    "test_http_flv.py",
    "test_api_viewers.py",
    "test_health.py",
    "test_endpoint_ffmpeg.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that are named first, and the others by the number of their tests."""
    tests = Counter(item.path for item in items)
    rank = {name: number for number, name in enumerate(FIRST)}
    items.sort(key=lambda item: (rank.get(item.path.name, len(rank)), -tests[item.path], str(item.path)))
