"""What a process that serves tells of itself, and lets be done: to the web process, which shows it."""
