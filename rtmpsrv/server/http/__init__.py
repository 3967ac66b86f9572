"""Viewers by HTTP: connections, requests, answers. Who may watch is asked of the same host as by RTMP."""
