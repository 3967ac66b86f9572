"""Recordings: what publishers send, kept in files. Never delays a stream."""
