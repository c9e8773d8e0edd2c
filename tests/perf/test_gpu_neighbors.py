"""The figures of `make gpu`'s section `neighbors`, worked by hand."""

import pytest

from benchmark.neighbors import with_torch
from perf.gpu import neighbors


def test_shares_of_the_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 queries in 3 blocks against 100 x 8 in 2 s, where a second has 32,000 operations and 16,400 bytes."""
    monkeypatch.setattr(with_torch, "queries_at_once", lambda *_: 4)
    found = neighbors._shares(2.0, 10, 100, 8, 5, product=32_000, bandwidth=16_400)
    assert found == {
        "TFLOP/s": pytest.approx(8e-9),  # 2 * 10 * 100 * 8 operations
        "share of its ceiling": pytest.approx(0.25),
        "share of the bandwidth limit": pytest.approx(9_920 / 32_800),  # 4 * 8 * (3 * 100 + 10) bytes
        "with products": pytest.approx(17_920 / 32_800),  # and 2 * 4 * 10 * 100
    }


def test_every_engine_is_timed_and_compared_with_the_cpu() -> None:
    rows = list(neighbors.measure("cpu", tiny=True))
    told = [row["what"] for row in rows]
    searches = [row["what"] for row in rows if "with products" in row]
    assert len(searches) == 2 and searches[0].startswith("cosine_knn, faiss") and searches[1] == "by torch on cpu"
    assert told[-2:] == [f"{name}: share of equal ids 1.000000" for name in searches]
    assert all(row["seconds"] > 0 and 0 < row["share of its ceiling"] for row in rows if "with products" in row)


def test_a_wrong_neighbor_shows_in_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    knn = with_torch.knn

    def wrong(*given: object) -> object:
        cosines, ids = knn(*given)
        ids[0, 0] += 1
        return cosines, ids

    monkeypatch.setattr(with_torch, "knn", wrong)
    *_, last = neighbors.measure("cpu", tiny=True)
    assert last["what"] == "by torch on cpu: share of equal ids 0.995000"  # one of 20 x 10
