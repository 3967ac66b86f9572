"""Read numbers of any count of bits, as codecs' configurations are written. Bounded, whatever the bytes."""

from __future__ import annotations

from typing import Final

from rtmpsrv.errors import RemoteProtocolError

MAX_BYTES: Final = 512  # of a configuration looked at; real ones are below 200
_LONGEST: Final = 32  # zeros before an exponential Golomb code, H.264, 9.1


class BitReader:
    """Reads from the first bytes on. Each method raises RemoteProtocolError where there are not so many."""

    __slots__ = ("_left", "_value")

    def __init__(self, data: bytes) -> None:
        data = data[:MAX_BYTES]
        self._value = int.from_bytes(data, "big")
        self._left = len(data) * 8

    @property
    def left(self) -> int:
        """How many bits there are yet."""
        return self._left

    def bits(self, count: int) -> int:
        """Return a number without sign."""
        if count > self._left:
            raise RemoteProtocolError(f"{count} bits wanted, {self._left} left")
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def flag(self) -> bool:
        """Return one bit."""
        return self.bits(1) == 1

    def golomb(self) -> int:
        """Return an exponential Golomb code without sign: `ue(v)`, H.264, 9.1."""
        zeros = 0
        while not self.bits(1):
            zeros += 1
            if zeros == _LONGEST:
                raise RemoteProtocolError(f"a code of more than {_LONGEST} bits")
        return (1 << zeros) - 1 + self.bits(zeros)

    def golombs(self, count: int) -> None:
        """Step over so many of them; those with a sign, `se(v)`, are as long."""
        for _ in range(count):
            self.golomb()


def unescaped(unit: bytes) -> bytes:
    """Return the first bytes of a NAL unit without what keeps start codes out of it, H.264, 7.4.1."""
    return unit[:MAX_BYTES].replace(b"\0\0\3", b"\0\0")
