"""Servers that stand in for what the tests cannot ask for real, or that run the real thing on a free port."""
