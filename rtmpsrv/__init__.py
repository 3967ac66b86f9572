"""A live-streaming RTMP/RTMPS server on gevent."""

__version__ = "0.1.0"
