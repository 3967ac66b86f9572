"""A live-streaming RTMP/RTMPS server on gevent, and an RTMP endpoint for programs: see docs/endpoint.md.

The names of the endpoint are loaded when they are first used: importing this package imports nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .endpoint import flv, queue_face
    from .endpoint.clients import Publisher, Watcher
    from .endpoint.endpoint import RtmpEndpoint
    from .endpoint.endpoint import RtmpEndpoint as Endpoint
    from .endpoint.limits import Limits
    from .endpoint.portal import Portal, start_portal
    from .endpoint.registration import Registration
    from .endpoint.registrations import (
        ObserverRegistration,
        PublisherRegistration,
        WatcherRegistration,
    )
    from .endpoint.requests import (
        ANY,
        Address,
        Allow,
        AnyKey,
        Deny,
        Exact,
        IpRestriction,
        ListenForPublishers,
        ListenForWatchers,
        Network,
        Observe,
        RegistrationError,
        RegistrationFailure,
        Request,
        SecondPublisher,
        StreamId,
        StreamKeyRegistration,
    )
    from .endpoint.types import (
        ApprovalRequired,
        Approve,
        AudioCodec,
        AudioData,
        Client,
        ConnectionId,
        MediaData,
        NewMediaData,
        NewPublisherConnected,
        PublisherMessage,
        PublisherRefused,
        PublisherRequiringApproval,
        PublishingStopped,
        RegistrationClosed,
        Reject,
        ScriptData,
        Statistics,
        StreamKeyBecameActive,
        StreamKeyBecameInactive,
        StreamMetadata,
        ValidationResponse,
        VideoCodec,
        VideoData,
        WatcherConnected,
        WatcherDisconnected,
        WatcherMessage,
        WatcherRefused,
        WatcherRequiringApproval,
    )
    from .errors import HandleClosed
    from .protocol import timestamps

__all__ = [
    "ANY", "Address", "Allow", "AnyKey", "ApprovalRequired", "Approve", "AudioCodec", "AudioData", "Client",
    "ConnectionId", "Deny", "Endpoint", "Exact", "HandleClosed", "IpRestriction", "Limits",
    "ListenForPublishers", "ListenForWatchers", "MediaData", "Network", "NewMediaData",
    "NewPublisherConnected", "Observe", "ObserverRegistration", "Portal", "Publisher", "PublisherMessage",
    "PublisherRefused", "PublisherRegistration", "PublisherRequiringApproval", "PublishingStopped",
    "Registration", "RegistrationClosed", "RegistrationError", "RegistrationFailure", "Reject", "Request",
    "RtmpEndpoint", "ScriptData", "SecondPublisher", "Statistics", "StreamId", "StreamKeyBecameActive",
    "StreamKeyBecameInactive", "StreamKeyRegistration", "StreamMetadata", "ValidationResponse", "VideoCodec",
    "VideoData", "Watcher", "WatcherConnected", "WatcherDisconnected", "WatcherMessage", "WatcherRefused",
    "WatcherRegistration", "WatcherRequiringApproval", "__version__", "flv", "queue_face", "start_portal",
    "timestamps",
]  # fmt: skip

_REQUESTS = (
    "ANY", "Address", "Allow", "AnyKey", "Deny", "Exact", "IpRestriction", "ListenForPublishers",
    "ListenForWatchers", "Network", "Observe", "RegistrationError", "RegistrationFailure", "Request",
    "SecondPublisher", "StreamId", "StreamKeyRegistration",
)  # fmt: skip
# Where the names are that are not in endpoint.types: (module, name there); "" is the module itself.
_ELSEWHERE = {
    **{name: ("endpoint.requests", name) for name in _REQUESTS},
    "Endpoint": ("endpoint.endpoint", "RtmpEndpoint"),
    "RtmpEndpoint": ("endpoint.endpoint", "RtmpEndpoint"),
    "Limits": ("endpoint.limits", "Limits"),
    "ObserverRegistration": ("endpoint.registrations", "ObserverRegistration"),
    "PublisherRegistration": ("endpoint.registrations", "PublisherRegistration"),
    "HandleClosed": ("errors", "HandleClosed"),
    "Portal": ("endpoint.portal", "Portal"),
    "Publisher": ("endpoint.clients", "Publisher"),
    "Registration": ("endpoint.registration", "Registration"),
    "Watcher": ("endpoint.clients", "Watcher"),
    "WatcherRegistration": ("endpoint.registrations", "WatcherRegistration"),
    "flv": ("endpoint.flv", ""),
    "queue_face": ("endpoint.queue_face", ""),
    "start_portal": ("endpoint.portal", "start_portal"),
    "timestamps": ("protocol.timestamps", ""),
}


def __getattr__(name: str) -> Any:
    """Load a public name."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, inner = _ELSEWHERE.get(name, ("endpoint.types", name))
    loaded = import_module(f"{__name__}.{module}")
    value = getattr(loaded, inner) if inner else loaded
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
