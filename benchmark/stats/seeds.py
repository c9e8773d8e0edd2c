"""Seeds that are made of names: equal on every machine and in every run."""

import hashlib


def seed_of(name: str, size: int = 8) -> int:
    """The first `size` bytes of the name's sha256, as a number."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:size], "big")
