"""Imports every module of attacks, which fills `cases.CASES`."""

from . import (  # noqa: F401
    attack_amf,
    attack_chunks,
    attack_commands,
    attack_connections,
    attack_descriptors,
    attack_hls,
    attack_http,
    attack_media,
    attack_memory,
    attack_process,
    attack_proxy,
    attack_services,
    attack_tiny,
    attack_tls,
    attack_viewers,
)
