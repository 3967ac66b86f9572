"""Patch first: tests and doubles cooperate on one hub, as the server does."""

from tests import patching

if patching.IN_WORKER:
    patching.patch_worker()

from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # on a busy machine any example may take long
settings.load_profile("untimed")
