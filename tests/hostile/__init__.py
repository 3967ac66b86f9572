"""Attacks on the real server beside a good stream that must not notice: see docs/hostile.md.

The parts: `cases` (the list) and the `attack_*` modules (what is sent), `attacker` and `services` (processes
that send it), `good` (the stream, in processes of its own), `stand` (server and good stream, and what is
measured), `verdict` (the limits), `run` and `test_attacks` (who runs all that).
"""
