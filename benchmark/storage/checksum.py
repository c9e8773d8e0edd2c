"""Adds a checksum to JSON files of the results folder, so that whoever reads one notices a flipped bit.

The last member of the object is `checksum`, the sha256 of all bytes before it. What was written before there were
checksums has none, and is whole as far as anybody can tell.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

NAME = "checksum"


def seal(content: bytes) -> bytes:
    """The JSON object with its checksum added. content: of an object that is not empty."""
    body = content.rstrip()
    assert body.endswith(b"}"), body[-20:]
    body = body[:-1].rstrip()
    return body + _end(body)


def is_sealed(content: bytes) -> bool:
    """Whether it carries a checksum, and every bit is the one that was written."""
    return content[-_LENGTH:] == _end(content[:-_LENGTH])


def is_broken(content: bytes, value: Mapping[str, Any]) -> bool:
    """Whether it carries a checksum, and other bytes than were written. value: the object in it."""
    return NAME in value and not is_sealed(content)


def _end(body: bytes) -> bytes:
    return f',\n"{NAME}": "{hashlib.sha256(body).hexdigest()}"}}'.encode()


_LENGTH = len(_end(b""))
