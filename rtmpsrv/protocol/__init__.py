"""RTMP on paper: bytes <-> events. Pure functions and objects; no gevent, socket, clock or log."""
