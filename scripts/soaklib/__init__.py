"""The soak: everybody comes and goes at random, and nothing is left. Started by `scripts/soak`."""
