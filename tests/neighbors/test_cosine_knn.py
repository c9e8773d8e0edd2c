"""`cosine_knn` against brute force in float64, where ties, duplicates and bad input are many."""

import re

import pytest
import torch
from brute_force import nearest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmark.neighbors import cosine_knn, scoring


@pytest.mark.parametrize(("width", "k"), [(3, 1), (17, 5), (64, 40), (64, 120)])
def test_equals_brute_force_on_random_vectors(width: int, k: int) -> None:
    generator = torch.Generator().manual_seed(width)
    queries, gallery = torch.randn(20, width, generator=generator), torch.randn(120, width, generator=generator)
    cosines, ids = cosine_knn(queries, gallery, k)
    expected_cosines, expected_ids = nearest(queries, gallery, k)
    assert ids.tolist() == expected_ids
    torch.testing.assert_close(cosines, torch.tensor(expected_cosines), atol=1e-7, rtol=0)
    assert cosines.dtype == torch.float32
    assert ids.dtype == torch.int64


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_ties_are_broken_by_id(data: st.DataObject) -> None:
    """Rows of +-1 of one length have few distinct cosines, so nearly every place is a tie."""
    width, num_gallery = data.draw(st.sampled_from([1, 4])), data.draw(st.integers(1, 60))
    k = data.draw(st.integers(1, num_gallery))
    row = st.lists(st.sampled_from([-1.0, 1.0]), min_size=width, max_size=width)
    gallery = torch.tensor(data.draw(st.lists(row, min_size=num_gallery, max_size=num_gallery)))
    queries = torch.tensor(data.draw(st.lists(row, min_size=1, max_size=5)))
    cosines, ids = cosine_knn(queries, gallery, k)
    assert (cosines.tolist(), ids.tolist()) == nearest(queries, gallery, k)


@pytest.mark.parametrize("num_copies", [2, 10, 300])
def test_exact_duplicates_come_in_order_of_id_however_many(num_copies: int) -> None:
    generator = torch.Generator().manual_seed(0)
    gallery = torch.randn(500, 33, generator=generator)
    copies = torch.randperm(500, generator=generator)[:num_copies]
    gallery[copies] = gallery[copies[0]].clone()
    _, ids = cosine_knn(gallery[copies[:1]], gallery, 2)
    assert ids[0].tolist() == copies.sort().values[:2].tolist()


def test_faiss_proposes_where_there_are_no_ties(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ties nothing falls back to scoring every pair, so the search itself is what is tested."""

    def refuse(*_: object) -> None:
        raise AssertionError("scored every pair")

    monkeypatch.setattr(scoring, "_exhaustive", refuse)
    gallery = torch.randn(400, 16, generator=torch.Generator().manual_seed(3))
    cosines, ids = cosine_knn(gallery, gallery, 4)
    assert ids[:, 0].tolist() == list(range(400))
    assert bool((cosines[:, 0] == 1).all())
    assert bool((cosines[:, 1:] <= cosines[:, :-1]).all())


def test_a_zero_vector_has_cosine_zero_to_everything() -> None:
    gallery = torch.randn(30, 5, generator=torch.Generator().manual_seed(1))
    gallery[7] = 0
    cosines, ids = cosine_knn(torch.zeros(1, 5), gallery, 3)
    assert cosines.tolist() == [[0, 0, 0]]
    assert ids.tolist() == [[0, 1, 2]]
    cosines, ids = cosine_knn(gallery[:1], gallery, 30)
    assert cosines[0, ids[0] == 7].tolist() == [0]


def test_cosine_ignores_length_and_stays_within_one() -> None:
    x = torch.tensor([[3e18, 4e18], [3e-20, 4e-20]])
    cosines, _ = cosine_knn(x, x, 2)
    assert cosines.tolist() == [[1, 1], [1, 1]]
    cosines, _ = cosine_knn(x, -x, 1)
    assert cosines.tolist() == [[-1], [-1]]


def test_layout_and_dtype_do_not_matter() -> None:
    x = torch.randint(-9, 9, (12, 40), generator=torch.Generator().manual_seed(2))
    expected = cosine_knn(x.T.contiguous().float(), x.T.contiguous().float(), 5)
    for variant in (x.T, x.T.double(), x.T.half(), x.T.float().requires_grad_()):
        for got, want in zip(cosine_knn(variant, variant, 5), expected, strict=True):
            assert torch.equal(got, want)


@pytest.mark.parametrize("threads", [1, 2])
def test_any_number_of_threads_gives_the_same_answer(threads: int) -> None:
    x = torch.randn(300, 20, generator=torch.Generator().manual_seed(4))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        cosines, ids = cosine_knn(x, x, 7)
    finally:
        torch.set_num_threads(before)
    expected_cosines, expected_ids = nearest(x[:3], x, 7)
    assert ids[:3].tolist() == expected_ids
    torch.testing.assert_close(cosines[:3], torch.tensor(expected_cosines), atol=1e-7, rtol=0)


NAN = torch.tensor([[0.0, 1.0], [float("nan"), 0.0]])


@pytest.mark.parametrize(
    ("queries", "gallery", "k", "message"),
    [
        (NAN, torch.ones(2, 2), 1, "queries row 1 holds NaN or infinity; allowed: finite numbers"),
        (torch.ones(2, 2), NAN / 0, 1, "gallery row 0 holds NaN or infinity"),
        (torch.ones(2, 3), torch.ones(2, 2), 1, "queries have width 3; allowed: the gallery's width, 2"),
        (torch.ones(2, 2), torch.ones(4, 2), 5, "k is 5; allowed: 1 to 4, the size of the gallery"),
        (torch.ones(2, 2), torch.ones(4, 2), 0, "k is 0; allowed: 1 to 4"),
        (torch.ones(2), torch.ones(4, 2), 1, "queries have shape (2,); allowed: (number, width)"),
        (torch.ones(2, 2), torch.ones(0, 2), 1, "gallery have shape (0, 2)"),
    ],
)
def test_bad_input_is_refused_by_name(queries: Tensor, gallery: Tensor, k: int, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        cosine_knn(queries, gallery, k)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_the_gpu_gives_the_cpu_answer() -> None:
    x = torch.randn(5000, 128, generator=torch.Generator().manual_seed(5))
    for got, want in zip(cosine_knn(x, x, 20, "cuda"), cosine_knn(x, x, 20, "cpu"), strict=True):
        assert torch.equal(got, want)
