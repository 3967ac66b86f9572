"""The settings as bounds: of channels, of sessions, and of what one process can leave to the next."""

from __future__ import annotations

import resource

from .config import Config
from .live.output import LiveLimits
from .server.session_state import SessionSettings

MIB = 1 << 20


def agreed(config: Config) -> dict[str, object]:
    """Return the settings that a successor must share, or else sessions cannot move."""
    names = (
        "rtmp_chunk_size", "control_use", "url_layout", "id_max_length", "id_allow_empty",
        "id_allow_special_characters",
    )  # fmt: skip
    return {name.upper(): getattr(config, name) for name in names}


def live_limits(config: Config) -> LiveLimits:
    """Return the bounds of channels."""
    return LiveLimits(
        cache_bytes=config.gop_cache_size_mb * MIB,
        keep_stream=config.gop_cache_mode == "stream",
        merge_messages=config.msg_buffer_size,
        lag_bytes=config.player_max_lag_mb * MIB,
        lag_s=float(config.player_max_lag_seconds),
    )


def session_settings(config: Config) -> SessionSettings:
    """Return the bounds of sessions."""
    return SessionSettings(
        chunk_size=config.rtmp_chunk_size,
        handshake_s=float(config.handshake_timeout_seconds),
        setup_s=float(config.setup_timeout_seconds),
        idle_s=float(config.idle_timeout_seconds),
        ping_s=float(config.ping_interval_seconds),
        stall_s=float(config.player_stall_seconds),
        message_bytes=min(config.max_message_mb * MIB, 0xFFFFFF),
        room_variable="GOP_CACHE_TOTAL_MB",
    )


def raise_descriptor_limit() -> int:
    """Allow as many descriptors as the system lets us have, and return their number.

    Connections and segments of logs need them.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
