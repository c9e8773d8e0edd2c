"""What a look at a store reads, and what it must find."""

import pytest

from benchmark.results.store import Store
from benchmark.results.verification import Look, verify

DAMAGES = ("truncated", "same size", "missing", "foreign")


def damaged(store: Store, key: str, damage: str) -> None:
    """Damage a finished trial in a folder, in one of `DAMAGES`; only "foreign" leaves it a result."""
    path = store.folder(key) / "rows.parquet"
    if damage == "foreign":
        (path.parent / "mine.txt").write_text("foreign")
    elif damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"" if damage == "truncated" else b"\0" * path.stat().st_size)


def reads(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that the store reads from now on."""
    read, names = store.storage.read, list[str]()

    def told(name: str, most: int = 2**26) -> bytes:
        names.append(name)
        return read(name, most)

    monkeypatch.setattr(store.storage, "read", told)
    return names


def look(store: Store) -> Look:
    return sum(verify(store), Look())


def damaged_names(store: Store) -> set[str]:
    return {damage.name for damage in look(store).damages}
