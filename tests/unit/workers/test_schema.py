from __future__ import annotations

from pathlib import Path

import pytest

from rtmpsrv.workers import schema

CLOCK = "boot time:[1]"
AGREED: dict[str, object] = {"RTMP_CHUNK_SIZE": 4096, "CONTROL_USE": False}


def hello(**changed: object) -> dict[str, object]:
    return {"schema": schema.SCHEMA, "clock": CLOCK, "agreed": dict(AGREED)} | changed


def test_a_process_of_the_same_form_clock_and_settings_is_taken_over_from() -> None:
    assert schema.obstacle(hello(), AGREED, CLOCK) == ""
    assert schema.obstacle(hello(agreed=AGREED | {"NEW": 1}), AGREED, CLOCK) == ""


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"schema": schema.SCHEMA + 1}, f"its state has the form {schema.SCHEMA + 1}, this version reads"),
        ({"schema": None}, "its state has the form None"),
        ({"clock": "another boot"}, "do not share a clock"),
        ({"clock": None}, "do not share a clock"),
        ({"agreed": None}, "does not tell its settings"),
        ({"agreed": AGREED | {"RTMP_CHUNK_SIZE": 128}}, "RTMP_CHUNK_SIZE changed"),
        ({"agreed": {}}, "RTMP_CHUNK_SIZE, CONTROL_USE changed"),
    ],
)
def test_what_is_in_the_way_is_said(changed: dict[str, object], why: str) -> None:
    assert why in schema.obstacle(hello(**changed), AGREED, CLOCK)


def test_a_form_is_read_by_its_own_version_and_the_next() -> None:
    assert schema.SCHEMA in schema.READS
    assert max(schema.READS) == schema.SCHEMA
    assert min(schema.READS) >= schema.SCHEMA - 1
    assert 0 not in schema.READS


def test_the_clock_is_the_boot_and_the_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boot, namespace = tmp_path / "boot", tmp_path / "time"
    monkeypatch.setattr(schema, "_BOOT_ID", boot)
    monkeypatch.setattr(schema, "_TIME_NAMESPACE", namespace)
    assert schema.clock_identity() == ""
    boot.write_text("1234\n")
    assert schema.clock_identity() == "1234"
    namespace.symlink_to("time:[4026531834]")
    assert schema.clock_identity() == "1234 time:[4026531834]"
