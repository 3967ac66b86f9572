"""Who is on the air: the log of a channel, the cursors of its players, the registry. Nothing here blocks."""
