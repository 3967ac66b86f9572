"""Patch first: the tests run as the server does, cooperating on one hub, and so do the doubles beside them."""

from gevent import monkey

monkey.patch_all()
