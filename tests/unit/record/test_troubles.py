"""Each failure has a kind, and a sentence."""

from __future__ import annotations

import errno

import pytest

from rtmpsrv.errors import MediaLost, MediaRefused
from rtmpsrv.record.disk import TooFull
from rtmpsrv.record.threads import TooSlow
from rtmpsrv.record.troubles import (
    DISK_ERROR,
    DISK_FULL,
    DISK_SLOW,
    INTERNAL,
    KINDS,
    MEDIA,
    TooFarBehind,
    TooManyFiles,
    kind_of,
    sentence_of,
)


@pytest.mark.parametrize(
    ("exc", "kind", "sentence"),
    [
        (TooFull(errno.ENOSPC, "almost full"), DISK_FULL, "almost full"),
        (OSError(errno.EDQUOT, "quota"), DISK_FULL, "quota"),
        (TooSlow(errno.ETIMEDOUT, "late"), DISK_SLOW, "late"),
        (TooFarBehind("behind"), DISK_SLOW, "behind"),
        (OSError(errno.EIO, "broken"), DISK_ERROR, "broken"),
        (OSError(), DISK_ERROR, "the disk failed"),
        (MediaRefused("no MP4"), MEDIA, "no MP4"),
        (MediaLost("late"), MEDIA, "late"),
        (TooManyFiles("often"), MEDIA, "often"),
        (KeyError("ours"), INTERNAL, "an error of the server"),
    ],
)
def test_kinds_and_sentences(exc: Exception, kind: str, sentence: str) -> None:
    assert (kind_of(exc), sentence_of(exc)) == (kind, sentence)
    assert kind in KINDS
