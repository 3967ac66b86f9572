"""What `record = ...` means in CHANNELS_FILE; what is wrong with one is in test_channel_rules.py."""

from __future__ import annotations

import pytest

from rtmpsrv.access.channel_rules import read_rules
from rtmpsrv.access.record_rule import RecordRule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", None),
        ("record = true", RecordRule()),
        ("record = false", RecordRule(False)),
        ("record = {}", RecordRule()),
        ('record = { format = "flv", segment_seconds = 0, segment_mb = 5 }', RecordRule(True, "flv", 0, 5)),
        ("[channel.record]\nsegment_seconds = 60", RecordRule(True, None, 60)),
    ],
)
def test_record_is_read(text: str, rule: RecordRule | None) -> None:
    rules = read_rules(f'[[channel]]\nname = "a"\n{text}\n'.encode(), has_tokens=False)
    assert rules.find("a").record == rule
