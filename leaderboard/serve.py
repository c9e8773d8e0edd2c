"""Serves the built page over HTTP, to this machine only: `bench leaderboard --serve`."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """A page view is no news."""


def server(site: Path, port: int) -> ThreadingHTTPServer:
    """A server of the folder `site` on 127.0.0.1, not yet serving. port: 0 takes a free one.

    Raises ValueError if the port cannot be had.
    """
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(_Quiet, directory=str(site)))
    except (OSError, OverflowError) as error:
        raise ValueError(f"port: {port} cannot be used ({error}); allowed: a free port, or 0 for any") from error
