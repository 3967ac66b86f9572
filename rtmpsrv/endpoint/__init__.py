"""The embeddable endpoint: a program registers for port, app and key, and gets clean, ordered messages."""
