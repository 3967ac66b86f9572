"""The parts of scripts/peers: each peer is started as its users do, beside a server of its own."""
