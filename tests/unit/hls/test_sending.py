"""What is sent, and has been let go of meanwhile."""

from __future__ import annotations

from rtmpsrv.hls.sending import TOO_SLOW, Sending


class Maker:
    is_running = True

    def __init__(self, *names: str) -> None:
        self.window = self
        self.names = dict.fromkeys(names, b"media")

    def find(self, name: str) -> bytes | None:
        return self.names.get(name)


class Taker:
    def __init__(self) -> None:
        self.reasons: list[str] = []

    def drop(self, reason: str) -> None:
        self.reasons.append(reason)


def test_who_is_sent_what_is_kept_no_more_is_ended() -> None:
    sending, maker = Sending(), Maker("1.m4s", "2.m4s")
    first, second, playlist, done = Taker(), Taker(), Taker(), Taker()
    with (
        sending.of(maker, "1.m4s", first),
        sending.of(maker, "2.m4s", second),
        sending.of(None, "live.m3u8", playlist),
    ):
        with sending.of(maker, "1.m4s", done):
            sending.see_to()
        del maker.names["1.m4s"]
        sending.see_to()
        maker.is_running = False
        sending.see_to()
    sending.see_to()
    assert first.reasons == [TOO_SLOW] * 2
    assert second.reasons == [TOO_SLOW]
    assert playlist.reasons == done.reasons == []
