"""PyAV as an encoder and a player of its own; not a test.

`python -m tests.pyav publish FILE URL` publishes in real time and tells its position, as ffmpeg does;
`python -m tests.pyav play URL FILE` writes down what it gets until the stream ends. Packets pass as they are.
"""

from __future__ import annotations

import sys
from time import monotonic, sleep

import av

TELL_EACH_S = 0.1


def copy(source: str, target: str, in_real_time: bool) -> None:
    """Copy all packets from one URL or file to another."""
    began, told_s = monotonic(), 0.0
    with av.open(source) as given, av.open(target, "w", format="flv") as taken:
        streams = {one.index: taken.add_stream_from_template(one) for one in given.streams}
        for packet in given.demux():
            if packet.dts is None or packet.time_base is None:  # the empty one at the end
                continue
            position_s = float(packet.dts * packet.time_base)
            if in_real_time:
                sleep(max(0.0, began + position_s - monotonic()))
                if position_s >= told_s + TELL_EACH_S:
                    told_s = position_s
                    sys.stdout.write(f"out_time_us={round(position_s * 1e6)}\n")
                    sys.stdout.flush()
            packet.stream = streams[packet.stream.index]
            taken.mux(packet)


if __name__ == "__main__":
    what, first, second = sys.argv[1:]
    copy(first, second, in_real_time=what == "publish")
