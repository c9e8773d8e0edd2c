"""Cuts private images into members and non-members anew, as likely as the cut that was made."""

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
NUM_CUTS = 999


def drawn(first: Bools, label: Integers, group: Integers, rng: np.random.Generator) -> Bools:
    """(1 + D, U): groups that lie on one side are exchanged as a whole, for others with images of the same classes."""
    members: dict[int, list[int]] = {}
    for image, name in enumerate(group.tolist()):
        members.setdefault(name, []).append(image)
    kinds: dict[tuple[int, ...], list[list[int]]] = {}
    for places in members.values():
        whole = len({bool(first[place]) for place in places}) == 1
        for unit in [places] if whole else [[place] for place in places]:
            ordered = sorted(unit, key=lambda place: label[place])
            kinds.setdefault(tuple(int(label[place]) for place in ordered), []).append(ordered)
    cuts = np.tile(first, (1 + NUM_CUTS, 1))
    for units in kinds.values():
        alike = np.array(units)
        order = rng.random((NUM_CUTS, len(alike))).argsort(axis=1)
        cuts[1:, alike] = first[alike[:, 0]][order][:, :, None]
    cuts[1:] ^= rng.random((NUM_CUTS, 1)) < 0.5
    return cuts
