"""The RTMP handshake: what S1 and S2 must be for a given C1. Pure functions; who sends when is not here.

Two kinds exist. The simple one (specification 5.2) echoes random bytes. The digest one, never published by
Adobe, signs them with constants known from Flash Player; Flash plays H.264 and AAC only after it, and
FFmpeg checks it in part. A client that wants it signs its C1, and gets the answer of the same kind.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable

from rtmpsrv.errors import RemoteProtocolError

RTMP_VERSION = 3  # C0 and S0, specification 5.2.2; 6, 8 and 9 are RTMPE
HANDSHAKE_SIZE = 1536  # bytes of C1, S1, C2 and S2, specification 5.2.3
DIGEST_SIZE = 32  # bytes, HMAC-SHA256

CLIENT_KEY = b"Genuine Adobe Flash Player 001"
SERVER_KEY = b"Genuine Adobe Flash Media Server 001"
KEY_TAIL = bytes.fromhex("f0eec24a8068bee82e00d0d1029e7e576eec5d2d29806fab93b8e636cfeb31ae")

# Bytes 4 to 7 of a signed S1. Not zero, which would mean "simple"; and the first byte below 3, with which
# FFmpeg players do not check the signatures (they are right all the same).
SERVER_VERSION = bytes((1, 2, 3, 4))

_OFFSET_RANGE = 728
# scheme -> position of the four bytes whose sum says where the digest is; the digest is 4 + sum behind it
_POINTER_POSITION = {0: 8, 1: 772}


def check_version(c0: int) -> None:
    """Raise RemoteProtocolError unless the first byte of a connection announces plain RTMP.

    Others are RTMPE (6, 8, 9) and scans: TLS begins with 22, HTTP with a letter. No answer helps them.
    """
    if c0 != RTMP_VERSION:
        raise RemoteProtocolError(f"handshake version {c0}, only {RTMP_VERSION} is spoken here")


def answer(
    c1: bytes, random_bytes: Callable[[int], bytes] = os.urandom, *, version: bytes = SERVER_VERSION
) -> bytes:
    """Return S1 and S2 for the 1536 bytes of `c1`: the digest handshake if it is signed, else the simple one.

    `version` goes into a signed S1 only.
    """
    assert len(c1) == HANDSHAKE_SIZE
    found = find_digest(c1)
    if found is None:
        # Zero version: FFmpeg players would check signatures that are not there. S2 echoes every byte:
        # StreamPack disconnects if it does not, OBS warns.
        return bytes(8) + random_bytes(HANDSHAKE_SIZE - 8) + c1
    scheme, offset = found
    s1 = sign_s1(bytes(4) + version + random_bytes(HANDSHAKE_SIZE - 8), scheme)
    return s1 + sign_s2(random_bytes(HANDSHAKE_SIZE - DIGEST_SIZE), c1[offset : offset + DIGEST_SIZE])


def find_digest(c1: bytes) -> tuple[int, int] | None:
    """Return the scheme and the position of the digest in `c1`, None if it is not signed.

    The version of C1 is not looked at: clients that do not sign leave it zero or not, as they like.
    """
    for scheme in (1, 0):
        offset = digest_offset(c1, scheme)
        if hmac.compare_digest(c1[offset : offset + DIGEST_SIZE], digest(c1, offset, CLIENT_KEY)):
            return scheme, offset
    return None


def digest_offset(packet: bytes, scheme: int) -> int:
    """Return where the digest of a C1 or S1 is, by the pointer bytes of the scheme."""
    pointer = _POINTER_POSITION[scheme]
    return sum(packet[pointer : pointer + 4]) % _OFFSET_RANGE + pointer + 4


def digest(packet: bytes, offset: int, key: bytes) -> bytes:
    """Return the digest of all bytes of a C1 or S1 but the 32 at `offset`."""
    return hmac.digest(key, packet[:offset] + packet[offset + DIGEST_SIZE :], "sha256")


def sign_s1(unsigned: bytes, scheme: int) -> bytes:
    """Return S1 with its digest in place; the scheme must be the client's."""
    offset = digest_offset(unsigned, scheme)
    signature = digest(unsigned, offset, SERVER_KEY)
    return unsigned[:offset] + signature + unsigned[offset + DIGEST_SIZE :]


def sign_s2(random_part: bytes, c1_digest: bytes) -> bytes:
    """Return S2: 1504 random bytes and the signature that answers the digest of C1."""
    return random_part + response_signature(random_part, c1_digest, SERVER_KEY)


def response_signature(random_part: bytes, peer_digest: bytes, key: bytes) -> bytes:
    """Return the last 32 bytes of an S2, or with CLIENT_KEY of a C2."""
    response_key = hmac.digest(key + KEY_TAIL, peer_digest, "sha256")
    return hmac.digest(response_key, random_part, "sha256")
