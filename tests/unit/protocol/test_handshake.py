from __future__ import annotations

import hashlib
from typing import Any

import pytest

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.protocol import handshake
from tests.vectors import load, name_of

VECTORS = load("handshake")
KEYS = VECTORS["keys"]


class LabelledBytes:
    """Stands for os.urandom: each call takes the bytes that belong to the next label."""

    def __init__(self, *labels: str) -> None:
        self._labels = list(labels)

    def __call__(self, size: int) -> bytes:
        label = self._labels.pop(0)
        blocks = (hashlib.sha256(f"{label}/{i}".encode()).digest() for i in range(size // 32 + 1))
        return b"".join(blocks)[:size]


def split_answer(answer: bytes) -> tuple[bytes, bytes]:
    assert len(answer) == 2 * handshake.HANDSHAKE_SIZE
    return answer[: handshake.HANDSHAKE_SIZE], answer[handshake.HANDSHAKE_SIZE :]


def test_keys_are_those_of_the_vectors() -> None:
    assert handshake.CLIENT_KEY.hex() == KEYS["client_30"]
    assert handshake.SERVER_KEY.hex() == KEYS["server_36"]
    assert (handshake.CLIENT_KEY + handshake.KEY_TAIL).hex() == KEYS["client_62"]
    assert (handshake.SERVER_KEY + handshake.KEY_TAIL).hex() == KEYS["server_68"]


@pytest.mark.parametrize(
    "case", VECTORS["offset_cases"], ids=lambda case: f"{case['scheme']}-{case['pointer_bytes']}"
)
def test_offset_case(case: dict[str, Any]) -> None:
    packet = bytearray(handshake.HANDSHAKE_SIZE)
    packet[case["pointer_at"] : case["pointer_at"] + 4] = bytes.fromhex(case["pointer_bytes"])
    offset = handshake.digest_offset(bytes(packet), case["scheme"])
    assert offset == case["digest_offset"]
    assert offset + handshake.DIGEST_SIZE == case["digest_end"]


@pytest.mark.parametrize("vector", VECTORS["complex"], ids=name_of)
def test_digest_of_c1_is_found(vector: dict[str, Any]) -> None:
    c1 = bytes.fromhex(vector["c1_hex"])
    offset = vector["c1_digest_offset"]
    assert handshake.find_digest(c1) == (vector["scheme"], offset)
    assert handshake.digest(c1, offset, handshake.CLIENT_KEY).hex() == vector["c1_digest"]


@pytest.mark.parametrize("vector", VECTORS["complex"], ids=name_of)
def test_s1_is_signed(vector: dict[str, Any]) -> None:
    random = LabelledBytes(vector["s1_random_label"])(handshake.HANDSHAKE_SIZE - 8)
    unsigned = bytes(4) + bytes.fromhex(vector["s1_version"]) + random
    assert hashlib.sha256(unsigned).hexdigest() == vector["s1_unsigned_sha256"]
    s1 = handshake.sign_s1(unsigned, vector["scheme"])
    offset = vector["s1_digest_offset"]
    assert s1.hex() == vector["s1_hex"]
    assert s1[offset : offset + handshake.DIGEST_SIZE].hex() == vector["s1_digest"]


@pytest.mark.parametrize("vector", VECTORS["complex"], ids=name_of)
def test_s2_is_signed(vector: dict[str, Any]) -> None:
    random = LabelledBytes(vector["s2_random_label"])(handshake.HANDSHAKE_SIZE - handshake.DIGEST_SIZE)
    s2 = handshake.sign_s2(random, bytes.fromhex(vector["c1_digest"]))
    assert s2.hex() == vector["s2_hex"]
    assert s2[-handshake.DIGEST_SIZE :].hex() == vector["s2_signature"]


@pytest.mark.parametrize("vector", VECTORS["complex"], ids=name_of)
def test_c2_is_signed_with_the_client_key(vector: dict[str, Any]) -> None:
    c2 = bytes.fromhex(vector["c2_hex"])
    signature = handshake.response_signature(
        c2[: -handshake.DIGEST_SIZE], bytes.fromhex(vector["s1_digest"]), handshake.CLIENT_KEY
    )
    assert c2[-handshake.DIGEST_SIZE :] == signature
    assert signature.hex() == vector["c2_signature"]


@pytest.mark.parametrize("vector", VECTORS["complex"], ids=name_of)
def test_a_signed_c1_is_answered_in_kind(vector: dict[str, Any]) -> None:
    random = LabelledBytes(vector["s1_random_label"], vector["s2_random_label"])
    answer = handshake.answer(
        bytes.fromhex(vector["c1_hex"]), random, version=bytes.fromhex(vector["s1_version"])
    )
    s1, s2 = split_answer(answer)
    assert s1.hex() == vector["s1_hex"]
    assert s2.hex() == vector["s2_hex"]


@pytest.mark.parametrize("vector", VECTORS["complex"], ids=name_of)
def test_the_version_of_a_signed_s1_is_1_2_3_4_unless_told(vector: dict[str, Any]) -> None:
    s1, s2 = split_answer(handshake.answer(bytes.fromhex(vector["c1_hex"])))
    assert s1[:8] == bytes((0, 0, 0, 0, 1, 2, 3, 4))
    offset = handshake.digest_offset(s1, vector["scheme"])
    signature = s1[offset : offset + handshake.DIGEST_SIZE]
    assert signature == handshake.digest(s1, offset, bytes.fromhex(KEYS["server_36"]))
    c1_digest = bytes.fromhex(vector["c1_digest"])
    expected = handshake.response_signature(s2[:-32], c1_digest, handshake.SERVER_KEY)
    assert s2[-32:] == expected


def test_the_ffmpeg_player_signs_its_c2_as_we_expect() -> None:
    captured = VECTORS["captured_c2"]
    s1, c2 = bytes.fromhex(captured["s1_hex"]), bytes.fromhex(captured["c2_hex"])
    offset = handshake.digest_offset(s1, 0)
    s1_digest = s1[offset : offset + 32]
    assert s1_digest.hex() == captured["s1_digest"]
    assert s1_digest == handshake.digest(s1, offset, handshake.SERVER_KEY)
    signature = handshake.response_signature(c2[:-32], s1_digest, handshake.CLIENT_KEY)
    assert c2[-32:] == signature
    assert signature.hex() == captured["c2_signature"]


@pytest.mark.parametrize("vector", VECTORS["simple"], ids=name_of)
def test_an_unsigned_c1_is_echoed(vector: dict[str, Any]) -> None:
    c1 = bytes.fromhex(vector["c1_hex"])
    s1, s2 = split_answer(handshake.answer(c1))
    assert s2.hex() == vector["s2_hex"]
    assert s1[:8] == bytes(8)
    assert s1[8:] != c1[8:]


# The version of C1 is not looked at, so a digest counts even where the version says "simple".
DIGEST_AFTER_ALL = "valid digest but version bytes zero"


@pytest.mark.parametrize("vector", VECTORS["digest_absent"], ids=name_of)
def test_a_c1_without_a_valid_digest_gets_the_simple_answer(vector: dict[str, Any]) -> None:
    c1 = bytes.fromhex(vector["c1_hex"])
    s1, s2 = split_answer(handshake.answer(c1))
    if vector["name"] == DIGEST_AFTER_ALL:
        assert handshake.find_digest(c1) is not None
        assert s1[4:8] == handshake.SERVER_VERSION
    else:
        assert handshake.find_digest(c1) is None
        assert s1[:8] == bytes(8)
        assert s2 == c1


def test_random_parts_come_from_the_given_source() -> None:
    sizes: list[int] = []

    def random_bytes(size: int) -> bytes:
        sizes.append(size)
        return b"r" * size

    s1, _ = split_answer(handshake.answer(bytes(handshake.HANDSHAKE_SIZE), random_bytes))
    assert s1 == bytes(8) + b"r" * 1528
    handshake.answer(bytes.fromhex(VECTORS["complex"][0]["c1_hex"]), random_bytes)
    assert sizes == [1528, 1528, 1504]


@pytest.mark.parametrize("vector", VECTORS["c0"], ids=lambda vector: vector["byte"])
def test_only_version_3_is_accepted(vector: dict[str, Any]) -> None:
    c0 = int(vector["byte"], 16)
    if vector["server"] == "accept":
        handshake.check_version(c0)
    else:
        with pytest.raises(RemoteProtocolError, match=f"version {c0},"):
            handshake.check_version(c0)
