"""Addresses that the environment names for a bucket: its endpoint and proxies, checked before obstore sees them."""

import os
import re
from urllib.parse import urlsplit

from benchmark.reading.text import shown

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_ADDRESSES = (*_PROXIES, *map(str.lower, _PROXIES), "AWS_PROXY_URL", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")


def check_addresses() -> None:
    """Raises ValueError for a variable of the environment that should hold an address and does not."""
    for name in _ADDRESSES:
        if (value := os.environ.get(name)) and not _is_address(value):
            allowed = "http://HOST:PORT, or no such variable"
            raise ValueError(f"results: {name}={shown(value)} is no address; allowed: {allowed}")


def proxies() -> list[str]:
    """The variables that send requests through a proxy, as NAME='value'."""
    names = (*_PROXIES, *map(str.lower, _PROXIES))
    return [f"{name}={os.environ[name]!r}" for name in names if os.environ.get(name)]


def _is_address(value: str) -> bool:
    """Would obstore take this for a host? It panics on what it does not."""
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    return bool(re.fullmatch(r"[A-Za-z0-9._:-]+", host)) and port != 0 and not re.search(r"\s", value)
