"""The search in blocks on a device, with the CPU as a stand-in: against brute force, and against faiss."""

import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
from brute_force import nearest
from torch import Tensor

from benchmark.neighbors import cosine_knn, scoring, with_torch
from benchmark.neighbors.scoring import Nearest

CPU = torch.device("cpu")


@pytest.fixture
def tiny_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of sizes that do not divide: parts of 53 gallery rows of 24 numbers, products of 17, groups of 3, few queries."""
    monkeypatch.setattr(with_torch, "_PART_BYTES", 53 * 12 * 24)
    monkeypatch.setattr(with_torch, "_COLUMNS", 17)
    monkeypatch.setattr(with_torch, "_GROUP", 3)
    monkeypatch.setattr(with_torch, "_PRODUCT_BYTES", 13_000)
    monkeypatch.setattr(with_torch, "_COPIED", 7 * 24)
    monkeypatch.setattr(scoring, "_CPU_CHUNK", 1000)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def clusters(num: int, width: int, seed: int) -> Tensor:
    """Around 12 centers, nearer to each other than float32 products tell apart."""
    return randn(12, width)[torch.arange(num) % 12] + 1e-4 * randn(num, width, seed=seed)


@pytest.mark.usefixtures("tiny_blocks")
@pytest.mark.parametrize("k", [1, 5, 60, 199, 200])
def test_tiny_blocks_equal_brute_force(k: int) -> None:
    queries, gallery = randn(11, 24, seed=1), randn(200, 24, seed=2)
    gallery[17 * torch.arange(11)] = gallery[0].clone()  # copies on both sides of borders of blocks and parts
    gallery[[52, 53, 90]] = 0
    queries[3], queries[4] = gallery[0], 0
    cosines, ids = with_torch.knn(queries, gallery, k, CPU)
    expected_cosines, expected_ids = nearest(queries, gallery, k)
    assert ids.tolist() == expected_ids
    torch.testing.assert_close(cosines, torch.tensor(expected_cosines), atol=1e-7, rtol=0)
    assert (cosines.dtype, ids.dtype) == (torch.float32, torch.int64)


@pytest.mark.usefixtures("tiny_blocks")
@pytest.mark.parametrize("data", ["random", "clusters", "copies", "signs"])
@pytest.mark.parametrize("k", [4, 70])
def test_it_finds_to_the_last_bit_what_faiss_finds(data: str, k: int) -> None:
    queries, gallery = {
        "random": lambda: (randn(40, 24, seed=1), randn(300, 24, seed=2)),
        "clusters": lambda: (clusters(40, 24, 1), clusters(300, 24, 2)),
        "copies": lambda: (randn(40, 24, seed=1), randn(9, 24, seed=2)[torch.arange(300) % 9]),
        "signs": lambda: (randn(40, 24, seed=1).sign(), randn(300, 24, seed=2).sign()),
    }[data]()
    for got, want in zip(with_torch.knn(queries, gallery, k, CPU), cosine_knn(queries, gallery, k, "cpu"), strict=True):
        assert torch.equal(got, want)


@pytest.mark.parametrize(("width", "k"), [(1, 1), (40, 2), (400, 3), (401, 3), (431, 3), (1000, 30), (2000, 15)])
def test_the_largest_of_a_row_are_among_the_groups_of_largest_maxima(width: int, k: int) -> None:
    """With ties, too: numbers are whole and few."""
    products = torch.randint(-20, 0, (50, width), generator=torch.Generator().manual_seed(width)).float()
    values, columns = with_torch.largest(products, k)
    assert torch.equal(values.sort(dim=1).values, products.sort(dim=1).values[:, width - k :])
    assert torch.equal(products.gather(1, columns), values)
    assert all(len(set(row)) == k for row in columns.tolist())


def test_nothing_as_large_as_queries_times_gallery_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    largest = with_torch.largest
    monkeypatch.setattr(with_torch, "largest", lambda x, k: (sizes.append(x.numel()), largest(x, k))[1])
    monkeypatch.setattr(with_torch, "_PRODUCT_BYTES", 1 << 16)
    monkeypatch.setattr(with_torch, "_COLUMNS", 100)
    with_torch.knn(randn(500, 8), randn(900, 8), 3, CPU)
    assert sum(sizes) == 500 * 900
    assert 4 * max(sizes) <= 1 << 16


def test_a_million_rows_are_one_part_and_eight_thousand_queries_a_block() -> None:
    assert with_torch._PART_BYTES // (12 * 512) >= 1_000_000
    assert 7_000 <= with_torch.queries_at_once(1_000_000, 512, 50) <= 8_192


def runs_out(monkeypatch: pytest.MonkeyPatch, name: str, fails: Iterator[bool]) -> list[int]:
    """Let a function of `with_torch` run out of memory at these calls; returns the sizes that it was called with."""
    sizes: list[int] = []
    function: Callable[..., object] = getattr(with_torch, name)

    def called(first: Tensor, *others: object) -> object:
        sizes.append(len(first))
        if next(fails):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return function(first, *others)

    monkeypatch.setattr(with_torch, name, called)
    return sizes


def test_out_of_memory_halves_the_block_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, gallery = randn(50, 24), randn(200, 24, seed=1)
    want = with_torch.knn(queries, gallery, 5, CPU)
    monkeypatch.setattr(with_torch, "queries_at_once", lambda *_: 20)
    sizes = runs_out(monkeypatch, "proposed", itertools.chain([False, True], itertools.repeat(False)))
    got = with_torch.knn(queries, gallery, 5, CPU)
    assert sizes == [20, 20, 10, 10, 10]
    assert all(map(torch.equal, got, want))


def test_out_of_memory_for_a_part_halves_the_part(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, gallery = randn(10, 24), randn(201, 24, seed=1)
    want = with_torch.knn(queries, gallery, 60, CPU)
    sizes = runs_out(monkeypatch, "_units", itertools.chain([True, True], itertools.repeat(False)))
    got = with_torch.knn(queries, gallery, 60, CPU)
    assert sizes == [201, 101, 51, 51, 51, 48]
    assert all(map(torch.equal, got, want))


def test_memory_for_not_even_one_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    runs_out(monkeypatch, "_units", itertools.repeat(True))
    with pytest.raises(torch.OutOfMemoryError):
        with_torch.knn(randn(3, 4), randn(100, 4), 2, CPU)


@pytest.mark.parametrize("k", [150, 290])
def test_sums_in_another_order_round_to_the_same_cosines(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device whose float64 sums differ by half the bound; between small cosines float32 has steps of that size."""
    queries, gallery = randn(30, 512, seed=1), randn(300, 512, seed=2)
    queries[:, 0], gallery[:, 0] = 2000, 0
    want = cosine_knn(queries, gallery, k, "cpu")
    changed = []

    def noisy(scores: Tensor, k: int, slack: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        if slack is not None:
            other = scores + slack * (torch.rand(scores.shape, generator=torch.Generator().manual_seed(3)) - 0.5)
            changed.append(int((other.float() != scores.float()).sum()))
            scores = other
        return top(scores, k, slack)

    top = scoring._top
    monkeypatch.setattr(scoring, "_top", noisy)
    got = with_torch.knn(queries, gallery, k, CPU)
    assert sum(changed) > 10
    assert all(map(torch.equal, got, want))


def test_doubtful_are_scores_at_the_middle_of_two_float32_that_may_be_among_the_first() -> None:
    middle, slack = 0.5 + 2.0**-25, torch.full((1, 1), 1e-13, dtype=torch.float64)
    rows = {(0.7, 0.6, 0.5): False, (0.7, 0.6, middle): False, (0.7, middle, 0.5): True, (middle, 0.7, 0.2): True,
            (0.7, middle + 2e-13, 0.5): False, (0.7, middle - 5e-14, 0.5): True, (1.0, 1.0, 0.0): False}  # fmt: skip
    for scores, expected in rows.items():
        _, _, doubtful = scoring._top(torch.tensor([scores], dtype=torch.float64), 2, slack)
        assert doubtful.tolist() == [expected], scores


def test_a_zero_query_is_never_doubtful() -> None:
    units = scoring.normalized(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    assert scoring.rounding_slack(units).flatten().tolist() == [0, 24 * 2.0**-53]


SWITCHES: dict[str, Callable[[], None]] = {
    "default": lambda: None,
    "allow_tf32": lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "fp32_precision": lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
}


def switches() -> list[object]:
    found: list[object] = [torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision]
    for ask in (lambda: torch.backends.cuda.matmul.allow_tf32, torch.get_float32_matmul_precision):
        try:
            found.append(ask())
        except RuntimeError:  # the newer switch was set alone
            found.append("refused")
    return found


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("fails", [False, True])
def test_tf32_and_autocast_are_off_inside_and_as_they_were_after_it(
    switch: str, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision
    seen = []

    def looks(*given: object) -> object:
        seen.append((switches(), torch.is_autocast_enabled("cpu")))
        if fails:
            raise RuntimeError
        return proposed(*given)

    proposed = with_torch.proposed
    monkeypatch.setattr(with_torch, "proposed", looks)
    try:
        SWITCHES[switch]()
        before = switches()
        with torch.autocast("cpu"):
            try:
                with_torch.knn(randn(3, 4), randn(100, 4), 2, CPU)
            except RuntimeError:
                assert fails
        assert switches() == before
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision = begin
    assert seen == [(["ieee", "ieee", False, "highest"], False)]


def test_proposals_are_made_by_whoever_is_asked() -> None:
    """As faiss on a GPU does, for all queries of a part at once; scored again, they are the same neighbors."""
    queries, gallery, asked = randn(30, 16), randn(300, 16, seed=1), []

    def proposer(given: Tensor, part: Tensor, fetch: int) -> with_torch.ByBlock:
        asked.append((len(given), len(part), fetch))
        found = with_torch.proposed(scoring.normalized(given).float(), part, fetch)
        return lambda rows: scoring.Proposals(found.lowest[rows], found.ids[rows])

    got = with_torch.knn(queries, gallery, 5, CPU, proposer)
    assert asked == [(30, 300, 21)]
    assert all(map(torch.equal, got, cosine_knn(queries, gallery, 5, "cpu")))


def test_what_is_left_out_is_decided_by_scoring_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proposals that leave neighbors out, as ties do, but say how large these may be, cost time only."""
    queries, gallery = randn(9, 16), randn(300, 16, seed=1)

    def poor(given: Tensor, part: Tensor, fetch: int) -> with_torch.ByBlock:
        ids = torch.arange(fetch).expand(len(given), -1)
        return lambda rows: scoring.Proposals(torch.ones(len(given))[rows], ids[rows])

    decisions: list[Nearest] = []
    decided = with_torch.decided
    monkeypatch.setattr(with_torch, "decided", lambda *a: (decisions.append(decided(*a)), decisions[-1])[1])
    got = with_torch.knn(queries, gallery, 5, CPU, poor)
    assert bool(decisions[0].exhaustive.all())
    assert all(map(torch.equal, got, cosine_knn(queries, gallery, 5, "cpu")))
