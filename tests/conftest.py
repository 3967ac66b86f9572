"""Patch first: tests and doubles cooperate on one hub, as the server does."""

from tests import patching

if patching.IN_WORKER:
    patching.patch_worker()
