"""Finds near-duplicate images, so that no two of them are on different sides of a split."""

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from benchmark.neighbors import cosine_knn

_SKETCH_WIDTH = 64
_FETCH = 16
"""Neighbors asked for at first; images with more near-duplicates are asked again."""
_ROUNDING = 1e-5
"""More than the rounding error of a bound in float32."""
_BLOCK = 1 << 12
"""Pairs compared at a time."""


def near_duplicate_groups(
    images: Tensor, mean_image: Tensor, threshold: float, device: torch.device | str = "cpu"
) -> Tensor:
    """Connected components of the graph of pairs whose cosine of mean-centred pixels exceeds the threshold.

    images: (N, C, H, W) uint8. mean_image: (C, H, W) in [0, 255] units. threshold: in (0, 1).
    device: that searches for candidates, as `cosine_knn` takes it.
    Returns (N,) int64: the smallest index in each image's component; without near-duplicates, its own.
    Exact: an upper bound of the cosine, in few dimensions, proposes pairs; the cosine itself decides.
    """
    assert images.shape[1:] == mean_image.shape
    units = torch.nn.functional.normalize((images.float() - mean_image).flatten(1))
    pairs = _candidates(_sketch(units), threshold - _ROUNDING, device)
    first, second = pairs[_cosines(units, pairs) > threshold].T.numpy()
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(images), len(images)))
    _, component = connected_components(graph, directed=False)
    _, smallest, inverse = np.unique(component, return_index=True, return_inverse=True)
    return torch.from_numpy(smallest[inverse].astype(np.int64))


def exact_repeats(images: Tensor, others: Tensor) -> Tensor:
    """(N,) bool: which images (N, C, H, W) uint8 are among the others (M, C, H, W), pixel for pixel."""
    known = set(map(_hash, others.numpy()))
    return torch.tensor([_hash(image) in known for image in images.numpy()], dtype=torch.bool)


def _hash(image: npt.NDArray[np.uint8]) -> int:
    return hash(image.tobytes())


def _sketch(units: Tensor) -> Tensor:
    """Unit vectors (N, D) in fewer dimensions (N, d + 1), whose cosines are never smaller than the real ones.

    Coordinates in d orthonormal directions, and the length of what they miss: by Cauchy and Schwarz the product of
    those lengths bounds what the missing parts add to the inner product. Any directions are right; those of largest
    variance (found by two power iterations) make the bound tight.
    """
    width = min(_SKETCH_WIDTH, units.shape[1])
    directions = torch.randn(units.shape[1], width, generator=torch.Generator().manual_seed(0))
    for _ in range(2):
        directions = torch.linalg.qr(units.T @ (units @ directions)).Q
    kept = units @ directions
    missed = (units.square().sum(1) - kept.square().sum(1)).clamp(min=0).sqrt()
    return torch.cat([kept, missed[:, None]], dim=1)


def _candidates(sketches: Tensor, bound: float, device: torch.device | str) -> Tensor:
    """Pairs (P, 2), first < second, of all rows of `sketches` with a cosine of at least `bound`."""
    found = []
    rows, fetch = torch.arange(len(sketches)), min(_FETCH, len(sketches))
    while len(rows):
        cosines, ids = cosine_knn(sketches[rows], sketches, fetch, device)
        complete = (cosines[:, -1] < bound) | (fetch == len(sketches))
        row, place = ((cosines >= bound) & complete[:, None]).nonzero(as_tuple=True)
        found.append(torch.stack([rows[row], ids[row, place]], dim=1))
        rows, fetch = rows[~complete], min(8 * fetch, len(sketches))
    pairs = torch.cat(found)
    return pairs[pairs[:, 0] < pairs[:, 1]]


def _cosines(units: Tensor, pairs: Tensor) -> Tensor:
    """(P,) float64 inner products of the pairs (P, 2) of rows."""
    blocks = [pairs[start : start + _BLOCK].T for start in range(0, len(pairs), _BLOCK)]
    return torch.cat([torch.zeros(0), *((units[a].double() * units[b]).sum(dim=1) for a, b in blocks)])
