"""The API seen from outside: its description, made of its code, and what it costs the streams beside it."""
