"""Makes file names of the names of models and suites, the same in every build."""

import hashlib
import re

_PLAIN = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_MAX_PART = 60


def slug(suite: str, model: str) -> str:
    """A file name without extension: lower-case ASCII, one for each (suite, model), the same on every build.

    Plain names stay as they are. Any other name is made plain and gets a hash of the original, so that names
    which differ only by case or punctuation stay apart on file systems that fold case.
    """
    if all(_PLAIN.fullmatch(name) and len(name) <= _MAX_PART for name in (suite, model)):
        return f"{suite}--{model}"
    digest = hashlib.sha256(f"{len(suite)} {suite} {model}".encode()).hexdigest()[:16]
    return f"{_plain(suite)}--{_plain(model)}--{digest}"


def part(name: str, *, short: bool = False) -> str:
    """A name as one part of a path, under the same rules. short: without the hash, where names need not differ."""
    if _PLAIN.fullmatch(name) and len(name) <= _MAX_PART:
        return name
    return _plain(name) if short else f"{_plain(name)}--{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_MAX_PART].strip("-") or "model"
