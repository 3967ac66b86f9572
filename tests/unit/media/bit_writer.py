"""Configurations made up by the bit, for what encoders at hand do not write."""

from __future__ import annotations


class BitWriter:
    """Appends numbers; `data` fills up the last byte with zeros."""

    def __init__(self) -> None:
        self._text = ""

    def bits(self, count: int, *values: int) -> BitWriter:
        for value in values:
            self._text += f"{value:0{count}b}"
        return self

    def golomb(self, *values: int) -> BitWriter:
        for value in values:
            text = f"{value + 1:b}"
            self._text += "0" * (len(text) - 1) + text
        return self

    @property
    def data(self) -> bytes:
        text = self._text.ljust(-(-len(self._text) // 8) * 8, "0")
        return bytes(int(text[place : place + 8], 2) for place in range(0, len(text), 8))
