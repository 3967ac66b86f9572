"""What can be asked of the API: the table that its description is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from rtmpsrv.web import asked, shapes
from tests.doubles.monitor_values import id_of

Parameter = dict[str, Any]

EXAMPLE_CHANNEL: Final = "live/good"
EXAMPLE_ID: Final = id_of("idle")
EXAMPLES: Final = {  # by the list that they are in
    "/rtmpsconns/": "idle over TLS",
    "/httpconns/": "page over HTTP",
    "/httpsconns/": "page over HTTPS",
    "/hlssessions/": "by HLS 1",
}


def _query(name: str, description: str, schema: Parameter) -> Parameter:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _in_path(name: str, description: str, schema: Parameter, example: str) -> Parameter:
    where = {"name": name, "in": "path", "required": True}
    return {**where, "description": description, "schema": schema, "example": example}


_WHOLE: Final = {"type": "integer", "minimum": 0, "maximum": 10**asked.MAX_DIGITS - 1}
PAGE: Final = [
    _query("page", "Which page, the first being 0.", {**_WHOLE, "default": 0}),
    _query(
        "itemsPerPage",
        f"How many there are on a page; more than {asked.MAX_ITEMS:,} are taken for {asked.MAX_ITEMS:,}.",
        {**_WHOLE, "minimum": 1, "default": asked.ITEMS},
    ),
]
BLOCK: Final = [
    _query(
        "block",
        "For how many seconds to refuse whoever comes again. A publisher: nobody may publish the channel. "
        "A player: its address may not play the channel.",
        {**_WHOLE, "maximum": asked.MAX_BLOCK_S, "default": 0},
    ),
    _query("reason", "Why: for the log and the events.", {"type": "string", "maxLength": asked.MAX_REASON}),
]
STOP: Final = [
    _query(
        "block",
        "For how many seconds nobody may publish the channel; it is then no error if nobody does. "
        "0 lets everybody publish it again. Without it nothing is changed of that.",
        {**_WHOLE, "maximum": asked.MAX_BLOCK_S},
    ),
    BLOCK[1],
]
NAME: Final = [
    _in_path(
        "name",
        "The channel. Slashes may be written as they are or as `%2F`.",
        {"type": "string", "minLength": 1},
        EXAMPLE_CHANNEL,
    )
]
FORMAT: Final = [
    _query(
        "format", "Of the file; without it that of the settings.", {"type": "string", "enum": ["flv", "mp4"]}
    )
]
ID: Final = [_in_path("id", "The UUID of the connection.", {"type": "string", "format": "uuid"}, EXAMPLE_ID)]
EVENTS: Final = [
    _query(
        "after",
        "`after` of the answer before: only what has happened since is told.",
        {"type": "string", "pattern": f"^{asked.AFTER.pattern}$"},
    ),
    _query(
        "channel", "Only the last ends of this channel, which are remembered for longer.", {"type": "string"}
    ),
]


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked, and what its example asks for beside the path."""

    method: str
    path: str
    name: str  # its id
    summary: str
    answer: type | None  # None: this description itself
    parameters: tuple[Parameter, ...] = ()
    text: str = ""
    query: str = ""
    finds: bool = False  # what is asked for may not be there

    @property
    def refusals(self) -> dict[int, str]:
        """Return why there may be no answer, by status."""
        why = {400: "A parameter cannot be read."} if set(self.names) - {"name"} else {}
        why |= {401: "Token, or name and password, are missing or wrong.", 403: "Not from there."}
        if self.finds:
            why[404] = "There is no such thing."
        if "block" in self.names:
            why[429] = "So many channels are blocked that another one would have to be opened."
        if self.answer is not None:
            why[503] = "No process has answered in time, or one of them in which it may be."
        return why

    @property
    def names(self) -> list[str]:
        """Return the names of its parameters."""
        return [one["name"] for one in self.parameters]

    @property
    def example(self) -> str:
        """Return path and query of the example."""
        path = self.path.replace("{name}", EXAMPLE_CHANNEL).replace("{id}", self._id)
        return path + (f"?{self.query}" if self.query else "")

    @property
    def _id(self) -> str:
        return next((id_of(one) for name, one in EXAMPLES.items() if name in self.path), EXAMPLE_ID)


ALL_OF_HTTP: Final = (
    "Who gets FLV or MP4, and connections that fetch pages, stills and pieces of HLS: these are idle."
)


def _of_connections(
    name: str, protocol: str, text: str = "Those that neither publish nor play, too."
) -> list[Operation]:
    kind = name.removesuffix("s")
    return [
        Operation(
            *("GET", f"/v3/{name}/list", f"{name}List", f"Connections over {protocol}"),
            *(shapes.ConnectionList, (*PAGE,)),
            text=text,
            query="itemsPerPage=1",
        ),
        Operation(
            *("GET", f"/v3/{name}/get/{{id}}", f"{name}Get", f"One connection over {protocol}"),
            *(shapes.Connection, (*ID,)),
            finds=True,
        ),
        Operation(
            *("POST", f"/v3/{name}/kick/{{id}}", f"{name}Kick", f"End a connection over {protocol}"),
            *(shapes.Done, (*ID, *BLOCK)),
            text=f"It is told that it was ended. A {kind} is found under its own protocol only.",
            query="block=60&reason=too%20loud",
            finds=True,
        ),
    ]


def _of_sessions() -> list[Operation]:
    return [
        Operation(
            *("GET", "/v3/hlssessions/list", "hlssessionsList", "Viewers by HLS"),
            *(shapes.ConnectionList, (*PAGE,)),
            text="One each, whatever connections its requests come by.",
            query="itemsPerPage=1",
        ),
        Operation(
            *("GET", "/v3/hlssessions/get/{id}", "hlssessionsGet", "One viewer by HLS"),
            *(shapes.Connection, (*ID,)),
            finds=True,
        ),
        Operation(
            *("POST", "/v3/hlssessions/kick/{id}", "hlssessionsKick", "End a viewer by HLS"),
            *(shapes.Done, (*ID, *BLOCK)),
            text="It is refused for half a minute; who opens the stream anew is another viewer.",
            query="block=60&reason=too%20loud",
            finds=True,
        ),
    ]


OPERATIONS: Final = [
    Operation("GET", "/v3/info", "info", "The server", shapes.Info),
    Operation(
        *("GET", "/v3/paths/list", "pathsList", "Channels"),
        *(shapes.PathList, (*PAGE,)),
        text="All that are on the air, or waited for by players.",
        query="itemsPerPage=1",
    ),
    Operation(
        *("GET", "/v3/paths/get/{name}", "pathsGet", "One channel"),
        *(shapes.Path, (*NAME,)),
        text="With the last ends of its publications and players.",
        finds=True,
    ),
    Operation(
        *("GET", "/v3/channels/{name}/players", "channelsPlayers", "The players of a channel"),
        *(shapes.PlayerList, (*NAME, *PAGE)),
        query="itemsPerPage=1",
        finds=True,
    ),
    Operation(
        *("POST", "/v3/channels/{name}/stop", "channelsStop", "End what is published on a channel"),
        *(shapes.Stopped, (*NAME, *STOP)),
        text="Also the wait for a publisher that fell off.",
        query="block=600&reason=end%20of%20the%20show",
        finds=True,
    ),
    *_of_connections("rtmpconns", "RTMP"),
    *_of_connections("rtmpsconns", "RTMPS"),
    *_of_connections("httpconns", "HTTP", ALL_OF_HTTP),
    *_of_connections("httpsconns", "HTTPS", ALL_OF_HTTP),
    *_of_sessions(),
    Operation(
        *("GET", "/v3/recordings/list", "recordingsList", "Files of recordings"),
        *(shapes.RecordingList, (*PAGE,)),
        text="By channel; of each the newest 1,000. Files that were deleted are not in it.",
        query="itemsPerPage=1",
    ),
    Operation(
        *("GET", "/v3/recordings/get/{name}", "recordingsGet", "Files of recordings of a channel"),
        *(shapes.RecordingsOfPath, (*NAME,)),
        finds=True,
    ),
    Operation(
        *("POST", "/v3/channels/{name}/record/start", "channelsRecordStart", "Record a channel"),
        *(shapes.Done, (*NAME, *FORMAT)),
        text="What is published on it now, to its end, whatever the settings say.",
        query="format=mp4",
        finds=True,
    ),
    Operation(
        *("POST", "/v3/channels/{name}/record/stop", "channelsRecordStop", "Record a channel no more"),
        *(shapes.Done, (*NAME,)),
        text="Until somebody publishes it anew, where the settings want it recorded.",
        finds=True,
    ),
    Operation(
        *("GET", "/v3/events", "events", "What has happened"),
        *(shapes.EventList, (*EVENTS,)),
        text="The last 200 beginnings and ends of publishers of each process, of players, and refusals.",
        query="after=5",
    ),
    Operation(
        "GET",
        "/v3/processes",
        "processes",
        "The processes that serve, and their counters",
        shapes.ProcessList,
    ),
    Operation("GET", "/v3/openapi.json", "openapi", "This description, as OpenAPI 3.1", None),
]
