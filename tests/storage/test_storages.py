"""One table of tests for the folder and for the bucket: what one does, the other does."""

import multiprocessing
import signal
from pathlib import Path

import pytest
import storage_writers
from store_writers import MADE, ROW, TABLE, trial

from benchmark.results.store import CorruptArtifact, Store
from benchmark.storage import Leaf, Storage, TooLarge, open_storage
from benchmark.trials.trial import Outcome

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "results")
    url: str = request.getfixturevalue("s3_url")
    return url


@pytest.fixture
def storage(place: str) -> Storage:
    storage = open_storage(place)
    storage.prepare()
    return storage


@pytest.fixture
def store(place: str) -> Store:
    return Store(place)


def outcome() -> Outcome:
    import torch

    return Outcome([ROW], {"x": torch.arange(6.0).reshape(2, 3)}, {"scores": TABLE})


def test_read_write_remove(storage: Storage) -> None:
    with pytest.raises(FileNotFoundError):
        storage.read("plans/a.json")
    storage.write("plans/a.json", b"one")
    storage.write("plans/a.json", b"two")
    assert storage.read("plans/a.json", most=3) == b"two"
    with pytest.raises(TooLarge, match="3 bytes; allowed: at most 2"):
        storage.read("plans/a.json", most=2)
    storage.remove("plans/a.json")
    storage.remove("plans/a.json")
    with pytest.raises(FileNotFoundError):
        storage.read("plans/a.json")


def test_create_only_if_absent(storage: Storage) -> None:
    assert storage.create("leases/a.json", b"mine") and not storage.create("leases/a.json", b"yours")
    assert storage.look("leases/a.json")[0] == b"mine"
    assert list(storage.tree("leases", 1)) == ["a.json"], "nothing is left beside it"


def test_swap_only_what_was_seen(storage: Storage) -> None:
    storage.create("leases/a.json", b"old")
    seen = storage.look("leases/a.json")[1]
    assert storage.swap("leases/a.json", b"new", seen)
    assert not storage.swap("leases/a.json", b"late", seen)
    assert storage.read("leases/a.json") == b"new"
    storage.remove("leases/a.json")
    assert not storage.swap("leases/a.json", b"late", seen)
    assert storage.tree("leases", 1) == {}


@pytest.mark.slow
@pytest.mark.parametrize("what", ["create", "swap"])
def test_of_many_processes_one_wins(storage: Storage, place: str, what: str) -> None:
    storage.write("leases/old.json", b"old")
    with SPAWN.Pool(3) as pool:
        won = pool.starmap(storage_writers.contend, [(place, what, who) for who in range(3)])
    assert [sum(wins) for wins in zip(*won, strict=True)] == [1] * storage_writers.ROUNDS


def test_the_tree_and_moves(storage: Storage) -> None:
    for name in ("trials/ab/k/a", "trials/ab/k/b", "trials/top", "trials/ab/k/deep/er/x"):
        storage.write(name, b"12")
    found = storage.tree("trials", 3)
    assert found.keys() == {"ab", "top"} and isinstance(found["top"], Leaf) and found["top"].bytes == 2
    assert found["ab"]["k"].keys() == {"a", "b", "deep"} and found["ab"]["k"]["deep"] == {}  # type: ignore[index,call-overload,union-attr]
    assert storage.tree("trials", 1)["ab"] == {} and storage.tree("nothing", 2) == {}
    assert storage.move("trials/ab/k", "set_aside/1/k") and not storage.move("trials/ab/k", "set_aside/2/k")
    assert storage.tree("trials/ab", 2).get("k", {}) == {} and storage.read("set_aside/1/k/deep/er/x") == b"12"
    assert storage.move("trials/top", "set_aside/3/top") and storage.read("set_aside/3/top") == b"12"


@pytest.mark.parametrize("name", ["", "..", "../x", "a/../x", "/etc/x", "a//b", "./a", "a\0b"])
def test_no_name_leads_out_of_the_store(storage: Storage, name: str) -> None:
    for act in (
        lambda: storage.read(name),
        lambda: storage.write(name, b""),
        lambda: storage.create(name, b""),
        lambda: storage.swap(name, b"", "x"),
        lambda: storage.remove(name),
        lambda: storage.move(name, "a"),
        lambda: storage.move("a", name),
        lambda: storage.tree(name, 1),
        lambda: storage.commit(name, {"m": b""}, "m"),
        lambda: storage.upload(Path(__file__), name),
    ):
        with pytest.raises(OSError, match="is no name in a results folder"):
            act()


@pytest.mark.slow
def test_files_by_content(store: Store, tmp_path: Path) -> None:
    content = bytes(range(256)) * 80_000  # 20 MB: more than a piece
    (tmp_path / "big").write_bytes(content)
    sha256 = storage_writers.sha256(content)
    assert not store.has_blob(sha256)
    with pytest.raises(ValueError, match="has the sha256"):
        store.put_blob("0" * 64, tmp_path / "big")
    store.put_blob(sha256, tmp_path / "big")
    store.put_blob(sha256, tmp_path / "big")
    assert store.has_blob(sha256) and not store.has_blob("0" * 64)
    store.get_blob(sha256, tmp_path / "new" / "copy")
    assert (tmp_path / "new" / "copy").read_bytes() == content
    with pytest.raises(FileNotFoundError):
        store.get_blob("0" * 64, tmp_path / "none")
    store.storage.write(f"files/{sha256[:2]}/{sha256}", b"another")
    with pytest.raises(ValueError, match="has the sha256"):
        store.get_blob(sha256, tmp_path / "none")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "results") == ["big", "new"]
    with pytest.raises(ValueError, match="no key"):
        store.has_blob("../" + "0" * 61)


def test_progress(store: Store) -> None:
    assert store.progress("0" * 64) is None
    store.keep_progress("0" * 64, b"one")
    store.keep_progress("0" * 64, b"two")
    assert store.progress("0" * 64) == b"two" and store.check() == []
    store.clear_progress("0" * 64)
    store.clear_progress("0" * 64)
    assert store.progress("0" * 64) is None


def test_a_trial_is_what_was_written(store: Store) -> None:
    key = trial().key
    store.writable()
    assert not store.has(key) and store.keys() == []
    store.write(trial(), outcome(), MADE)
    store.write(trial(), outcome(), {**MADE, "wall_s": 9.0})  # once more: it takes the place of the first
    assert store.has(key) and store.keys() == [key] and store.scan() == ({key}, []) and not store.verify(key)
    assert store.trial(key) == trial() and store.provenance(key)["wall_s"] == 9.0
    assert store.rows(key)["wall_s"].to_pylist() == [9.0] and store.table(key, "scores").equals(TABLE)
    assert store.tensors(key)["x"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert "scores.parquet" in store.sizes(key) and "curve.parquet" not in store.sizes(key)
    place = store.set_aside(key, "to see")
    assert not store.has(key) and store.scan() == (set(), [])
    assert "to see" in store.storage.read(f"{place}/reason.txt").decode()
    assert "trial.json" in store.storage.tree(place, 2)[key]  # type: ignore[operator]
    with pytest.raises(CorruptArtifact):
        store.rows(key)


@pytest.mark.parametrize("name", ["rows.parquet", "scores.parquet", "tensors.safetensors"])
def test_damage_is_never_read(store: Store, name: str) -> None:
    store.write(trial(), outcome(), MADE)
    folder = f"trials/{trial().key[:2]}/{trial().key}"
    (file,) = (file for file in store.storage.tree(folder, 1) if file.endswith(name))
    content = bytearray(store.storage.read(f"{folder}/{file}"))
    content[len(content) // 2] ^= 1
    store.storage.write(f"{folder}/{file}", bytes(content))
    assert store.verify(trial().key).startswith(name)
    with pytest.raises(CorruptArtifact, match="sha256"):
        {"rows.parquet": store.rows, "tensors.safetensors": store.tensors}.get(
            name, lambda key: store.table(key, "scores")
        )(trial().key)
    store.storage.write(f"{folder}/{file}", bytes(content[:-1]))
    assert not store.has(trial().key)
    (problem,) = store.check()
    assert problem.key == trial().key and problem.reason.startswith(f"{name}: truncated")


@pytest.mark.slow
@pytest.mark.parametrize("again", [False, True])
def test_a_writer_killed_before_its_mark_leaves_what_was_there(store: Store, place: str, again: bool) -> None:
    store.writable()
    if again:
        store.write(trial(), outcome(), MADE)
    process = SPAWN.Process(target=storage_writers.killed_before_the_mark, args=(place,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert store.has(trial().key) == again and store.check() == []
    if again:
        assert store.rows(trial().key)["wall_s"].to_pylist() == [MADE["wall_s"]]
    before = _all_files(store)
    store.clear_stale()
    assert _all_files(store) == before, "a writer may still be at it"
    store.storage.clear_stale(older_than_s=-10)
    assert len(_all_files(store)) == (4 if again else 0) < len(before)
    assert store.has(trial().key) == again and store.check() == []


@pytest.mark.slow
def test_two_processes_may_write_one_trial(store: Store, place: str) -> None:
    store.writable()
    writers = [SPAWN.Process(target=storage_writers.write_often, args=(place, who)) for who in (0, 1)]
    for writer in writers:
        writer.start()
    reads = 0
    while any(writer.is_alive() for writer in writers):
        if store.keys():
            rows = store.rows(trial().key)
            assert rows.num_rows == int(rows["wall_s"][0].as_py()) + 1, "all from one writer"
            reads += 1
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert reads and store.has(trial().key) and not store.verify(trial().key) and store.check() == []


def _all_files(store: Store) -> list[str]:
    """Below trials/, with hidden ones."""
    return sorted(
        f"{prefix}/{key}/{file}"
        for prefix, keys in store.storage.tree("trials", 3).items()
        for key, files in keys.items()  # type: ignore[union-attr]
        for file in files
    )
