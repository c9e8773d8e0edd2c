"""What a model's replicas together say of every private image: the table that `memorization` writes. Loads no torch."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmark.memorization.counterfactual import counterfactual_memorization, difference_of_means, mean_over

_I, _F = pa.int64(), pa.float64()
SCHEMA = pa.schema(
    [
        ("image_id", _I),
        ("class_id", _I),
        ("group", _I),
        ("memorization", _F),
        ("memorization_error", _F),
        ("memorization_elsewhere", _F),
        ("margin_gap", _F),
        ("num_in", _I),
        ("num_out", _I),
        ("attacked_in", _I),
        ("attacked_out", _I),
        ("robust_margin", _F),
    ]
)
"""memorization.parquet: one row a private image; near-duplicates have equal groups. What is undefined is null.

memorization_elsewhere: over the shadow replicas alone, so that chance in the attacked ones is not in it.
attacked_in, attacked_out: attacked replicas of which it is a member, a non-member.
"""


class Queried(NamedTuple):
    """What R replicas say of P images, (R, P) each; those that are attacked come first.

    margins: of the image itself. robust_margins: least one of its adversarial versions, NaN where there are none.
    is_member, is_out, never_seen: see the stage `query`.
    """

    correct: npt.NDArray[np.bool_]
    margins: npt.NDArray[np.float64]
    robust_margins: npt.NDArray[np.float64]
    is_member: npt.NDArray[np.bool_]
    is_out: npt.NDArray[np.bool_]
    never_seen: npt.NDArray[np.bool_]

    def of(self, models: slice) -> "Queried":
        """What these of the replicas say."""
        correct, margins, robust_margins, is_member, is_out, never_seen = self
        sides = is_member[models], is_out[models], never_seen[models]
        return Queried(correct[models], margins[models], robust_margins[models], *sides)


def image_values(queried: Queried, num_attacked: int, ids: dict[str, npt.NDArray[np.int64]]) -> pa.Table:
    """The table. ids: `image_id`, `class_id` and `group`, (P,) each."""
    found = counterfactual_memorization(queried.correct, queried.is_member, queried.never_seen)
    attacked = queried.of(slice(num_attacked))
    shadows = queried.of(slice(num_attacked, None))
    elsewhere = counterfactual_memorization(shadows.correct, shadows.is_member, shadows.never_seen)
    columns = {
        **ids,
        "memorization": found.value,
        "memorization_error": found.standard_error,
        "memorization_elsewhere": elsewhere.value,
        "margin_gap": difference_of_means(queried.margins, queried.is_member, queried.never_seen),
        "num_in": found.num_in,
        "num_out": found.num_out,
        "attacked_in": attacked.is_member.sum(0),
        "attacked_out": attacked.is_out.sum(0),
        "robust_margin": mean_over(attacked.robust_margins, attacked.is_member),
    }
    return pa.table({field.name: pa.array(columns[field.name], field.type, from_pandas=True) for field in SCHEMA})
