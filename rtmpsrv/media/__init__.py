"""What media and data messages mean: pure functions and one cache; no I/O, gevent, clock or log."""
