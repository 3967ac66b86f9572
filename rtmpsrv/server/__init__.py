"""Sockets and greenlets: listeners, sessions, outlets. What a session may do is asked of a host."""
