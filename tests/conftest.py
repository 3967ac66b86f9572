"""Patch first: tests and doubles cooperate on one hub, as the server does."""

from gevent import monkey

monkey.patch_all()
