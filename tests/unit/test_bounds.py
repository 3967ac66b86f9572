"""What the settings mean in the units of those who keep to them."""

from __future__ import annotations

from rtmpsrv.bounds import agreed, live_limits, session_settings
from rtmpsrv.config import Config


def test_a_successor_must_agree_on_what_urls_and_chunks_mean() -> None:
    config = Config(rtmp_chunk_size=1000, url_layout="app-stream")
    assert agreed(config) == {
        "RTMP_CHUNK_SIZE": 1000,
        "CONTROL_USE": False,
        "URL_LAYOUT": "app-stream",
        "ID_MAX_LENGTH": 128,
        "ID_ALLOW_EMPTY": False,
        "ID_ALLOW_SPECIAL_CHARACTERS": False,
    }


def test_limits_have_the_units_of_those_who_keep_them() -> None:
    config = Config(gop_cache_size_mb=3, gop_cache_mode="stream", player_max_lag_mb=2, max_message_mb=16)
    live = live_limits(config)
    assert (live.cache_bytes, live.keep_stream, live.lag_bytes) == (3 << 20, True, 2 << 20)
    assert not live_limits(Config(gop_cache_mode="gop")).keep_stream
    assert session_settings(config).message_bytes == 0xFFFFFF, "its length has three bytes"
    assert session_settings(Config(max_message_mb=15)).message_bytes == 15 << 20
