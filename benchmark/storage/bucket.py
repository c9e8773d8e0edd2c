"""Keeps results in a bucket behind a URL: one PUT a file, the mark of a trial last. The only file that imports obstore.

Tested against S3; `gs://` and `az://` go the same way, untested.
"""

import contextlib
import errno
import hashlib
import os
import re
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, GenericError, PreconditionError
from obstore.store import S3Store, from_url

from benchmark.reading.json_and_parquet import parse
from benchmark.storage import MARK, MOST_BYTES, Leaf, TooLarge, Tree, Version
from benchmark.storage.bucket_addresses import check_addresses, proxies
from benchmark.storage.bucket_errors import line, may_pass
from benchmark.storage.patience import persist

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig

T = TypeVar("T")
_SCHEMES = ("s3", "gs", "az")
_CHUNK = 8 * 2**20
_CLIENT = {"connect_timeout": "3s", "read_timeout": "30s", "timeout": "1h"}
_BRISK: "RetryConfig" = {"max_retries": 2, "retry_timeout": timedelta(seconds=5)}
"""Of one call. `patience` makes it again, and says so; at the beginning of a run the user waits for an answer."""
_HASHED = re.compile(r"[0-9a-f]{16}\.[A-Za-z0-9_]+\.[a-z]+")


class Bucket:
    """All below `scheme://bucket/prefix`. Endpoint and credentials come from the usual variables of the environment."""

    parallel = 16

    def __init__(self, url: str) -> None:
        self.root: str = url.rstrip("/")
        scheme, _, place = self.root.partition("://")
        if scheme not in _SCHEMES or not place.split("/")[0]:
            allowed = "a folder, s3://BUCKET/PREFIX, or gs:// and az:// (untested)"
            raise ValueError(f"results: {url!r} is no place for results; allowed: {allowed}")
        self._store = _client(self.root)

    def prepare(self) -> None:
        probe = f".probe.{uuid.uuid4().hex}.tmp"
        try:
            _asked(lambda: obstore.put(self._store, probe, b"\0", use_multipart=False), for_s=0.0)
        except OSError as error:
            also = "".join(f" and {proxy}" for proxy in proxies())
            allowed = f"an existing bucket that you may write to, see AWS_ENDPOINT_URL and AWS_ACCESS_KEY_ID{also}"
            raise ValueError(
                f"results: {self.root!r} cannot be written ({error.strerror}); allowed: {allowed}"
            ) from error
        with contextlib.suppress(OSError):  # who may write need not be allowed to delete
            _asked(lambda: obstore.delete(self._store, probe), for_s=0.0)

    def read(self, name: str, most: int = MOST_BYTES) -> bytes:
        return self._get(name, most)[0]

    def digest(self, name: str, most: int = 2**40) -> str:
        def fetch() -> str:
            found, size = hashlib.sha256(), 0
            for chunk in obstore.get(self._store, _checked(name)).stream(min_chunk_size=_CHUNK):
                size += len(chunk)
                if size > most:
                    raise TooLarge(name, size, most)
                found.update(chunk)
            return found.hexdigest()

        return _asked(fetch)

    def verified(self, name: str, sha256: str, most: int) -> bytes | None:
        content = self.read(name, most)
        return content if hashlib.sha256(content).hexdigest() == sha256 else None

    def write(self, name: str, content: bytes) -> None:
        _asked(lambda: obstore.put(self._store, _checked(name), content))

    def create(self, name: str, content: bytes) -> bool:
        return self._put_if(name, content, "create")

    def look(self, name: str) -> tuple[bytes, Version]:
        return self._get(name, MOST_BYTES)

    def swap(self, name: str, content: bytes, seen: Version) -> bool:
        return self._put_if(name, content, {"e_tag": seen})

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            _asked(lambda: obstore.delete(self._store, _checked(name)))

    def move(self, name: str, target: str) -> bool:
        """Copies all, then removes the source: not atomic."""
        source, goal = _checked(name), _checked(target)
        files = [meta["path"] for meta in self._list(source)]
        if not files:
            with contextlib.suppress(FileNotFoundError):
                files = [_asked(lambda: obstore.head(self._store, source))["path"]]
        for file in files:
            to = goal + file.removeprefix(source)
            with contextlib.suppress(FileNotFoundError):  # another run has just moved it
                _asked(lambda file=file, to=to: obstore.copy(self._store, file, to))  # type: ignore[misc]
        if files:
            _asked(lambda: obstore.delete(self._store, files))
        return bool(files)

    def tree(self, name: str, depth: int) -> Tree:
        found: Tree = {}
        if depth == 1:
            listing = _asked(lambda: obstore.list_with_delimiter(self._store, _checked(name)))
            found |= {prefix.rstrip("/").rsplit("/", 1)[-1]: {} for prefix in listing["common_prefixes"]}
            return found | {meta["path"].rsplit("/", 1)[-1]: _leaf(meta) for meta in listing["objects"]}
        for meta in self._list(_checked(name)):
            place, parts = found, meta["path"].removeprefix(f"{name}/").split("/")
            for part in parts[: min(depth, len(parts) - 1)]:
                below = place.setdefault(part, {})
                if isinstance(below, Leaf):  # a bucket can have both `a` and `a/b`
                    below = place[part] = {}
                place = below
            if len(parts) <= depth:
                place[parts[-1]] = _leaf(meta)
        return found

    def file_name(self, name: str, sha256: str) -> str:
        """A name made of the content: two executions of a trial never overwrite each other's files, only the mark."""
        return f"{sha256[:16]}.{name}"

    def commit(self, folder: str, files: Mapping[str, bytes], mark: str) -> None:
        others = [name for name in files if name != mark]
        for _ in range(3):  # a `clear_stale` elsewhere may just have removed an equal file of long ago
            with ThreadPoolExecutor(max(1, min(self.parallel, len(others)))) as pool:
                list(pool.map(lambda name: self.write(f"{folder}/{name}", files[name]), others))
            self.write(f"{folder}/{mark}", files[mark])
            there = self.tree(folder, 1)
            if all(isinstance(leaf := there.get(name), Leaf) and leaf.bytes == len(files[name]) for name in others):
                return
        raise OSError(errno.EIO, f"{self.root}: the files of {folder} do not stay")

    def hidden(self, name: str) -> bool:
        """Whether it is a file of a writer that has put no mark yet, or of an execution that was replaced."""
        return name.startswith(".") or bool(_HASHED.fullmatch(name))

    def clear_stale(self, older_than_s: float) -> None:
        with ThreadPoolExecutor(self.parallel) as pool:
            list(pool.map(lambda prefix: self._clear(f"trials/{prefix}", older_than_s), self.tree("trials", 1)))

    def _clear(self, folder: str, older_than_s: float) -> None:
        """Remove old files that no mark names. Only where there are two for one name can there be any."""
        for key, files in self.tree(folder, 2).items():
            own = [] if isinstance(files, Leaf) else [name for name in files if _HASHED.fullmatch(name)]
            if isinstance(files, Leaf) or (MARK in files and len({name[17:] for name in own}) == len(own)):
                continue
            try:
                mark = parse(self.read(f"{folder}/{key}/{MARK}")) if MARK in files else {"files": {}}
                named = {self.file_name(name, file["sha256"]) for name, file in mark["files"].items()}
            except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue  # `scan` reports it
            for name in set(own) - named:
                leaf = files[name]
                if isinstance(leaf, Leaf) and time.time() - leaf.modified > older_than_s:
                    self.remove(f"{folder}/{key}/{name}")

    def upload(self, path: Path, name: str) -> None:
        _asked(lambda: obstore.put(self._store, _checked(name), path, chunk_size=_CHUNK))

    def download(self, name: str, target: Path) -> None:
        def fetch() -> None:
            with target.open("wb") as file:
                for chunk in obstore.get(self._store, _checked(name)).stream(min_chunk_size=_CHUNK):
                    file.write(chunk)

        _asked(fetch)

    def _get(self, name: str, most: int) -> tuple[bytes, Version]:
        def fetch() -> tuple[bytes, Version]:
            found = obstore.get(self._store, _checked(name))
            if found.meta["size"] > most:
                raise TooLarge(name, found.meta["size"], most)
            return bytes(found.bytes()), str(found.meta["e_tag"])

        return _asked(fetch)

    def _put_if(self, name: str, content: bytes, mode: Any) -> bool:
        try:
            _asked(lambda: obstore.put(self._store, _checked(name), content, mode=mode))
        except FileExistsError:
            return False
        except FileNotFoundError:
            if mode == "create":
                raise
            return False  # what was seen is gone
        return True

    def _list(self, folder: str) -> list[Any]:
        """All files in a folder; a listing that breaks off is made again from its beginning."""
        return _asked(lambda: [meta for chunk in obstore.list(self._store, folder, chunk_size=1000) for meta in chunk])


def _client(url: str) -> "ObjectStore":
    """A client of obstore. S3: from AWS_*, else from boto3's chain (profiles, roles) if boto3 is there."""
    check_addresses()
    options: Any = {**_CLIENT, "allow_http": True}
    try:
        if not url.startswith("s3://"):
            return from_url(url, client_options=options, retry_config=_BRISK)
        config: Any = {} if {"AWS_REGION", "AWS_DEFAULT_REGION"} & os.environ.keys() else {"region": "us-east-1"}
        provider: Any = None if {"AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE"} & os.environ.keys() else _boto3_chain(url)
        if provider is not None:
            config |= provider.config
        return S3Store.from_url(
            url, config=config, client_options=options, retry_config=_BRISK, credential_provider=provider
        )
    except BaseError as error:
        raise ValueError(f"results: {url!r} cannot be used ({line(error)})") from error


def _boto3_chain(url: str) -> Any:
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:  # obstore then asks the machine's role alone
        return None
    try:
        return Boto3CredentialProvider()
    except Exception as error:  # no credentials, or a broken profile, as one of botocore's many errors
        allowed = "AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a machine with a role"
        raise ValueError(f"results: {url!r}: no credentials were found ({error}); allowed: {allowed}") from error


def _passing(error: BaseException) -> str:
    """What is wrong, where it may pass by itself; else empty."""
    return line(error) if isinstance(error, GenericError) and may_pass(str(error)) else ""


def _asked(call: Callable[[], T], for_s: float | None = None) -> T:
    """The call, made again while the store does not answer, with obstore's errors as OSError in one line."""
    try:
        return persist(call, _passing, for_s)
    except (AlreadyExistsError, PreconditionError) as error:
        raise FileExistsError(errno.EEXIST, line(error)) from error
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise OSError(errno.EIO, line(error)) from error
        raise FileNotFoundError(errno.ENOENT, "not there") from error
    except BaseError as error:
        raise OSError(errno.EIO, line(error)) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of obstore's Rust, and no Exception
            raise
        raise OSError(errno.EIO, f"obstore panics: {line(error)}") from error


def _checked(name: str) -> str:
    if any(part in ("", ".", "..") or "\0" in part for part in name.split("/")):
        raise OSError(errno.EINVAL, f"{name[:200]!r} is no name in a results folder")
    return name


def _leaf(meta: Any) -> Leaf:
    return Leaf(meta["size"], meta["last_modified"].timestamp())
