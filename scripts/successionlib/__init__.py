"""Servers succeed each other under load, and no client may notice. Started by `scripts/succession`."""
