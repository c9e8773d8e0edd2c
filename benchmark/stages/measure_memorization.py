"""Stage `memorization`: which private images a model memorises, over all its replicas, and pictures of those."""

import numpy as np
import pyarrow as pa
from pydantic import Field

from benchmark.data.members.pools import MOST_REPLICAS
from benchmark.memorization.counterfactual import memorized_share
from benchmark.stages.shared.example_images import pictures
from benchmark.stages.shared.image_values import Queried, image_values
from benchmark.stages.shared.inputs import load_data
from benchmark.stages.shared.queried import Query, queries_of
from benchmark.trials.trial import Context, Outcome, Row, Stage

_HALF = 1.96


class MeasureMemorization(Stage):
    """Inputs: pools, query_<replica> of every replica of a model; the largest numbers are shadows alone.

    num_attacked: replicas that are attacked and inverted. shown: most memorised images of which pictures are kept.
    Writes `memorization`, see `image_values.SCHEMA`, and `pictures`.
    """

    num_attacked: int = Field(ge=1, le=MOST_REPLICAS)
    shown: int = Field(default=24, ge=0, le=1_000)

    def run(self, context: Context) -> Outcome:
        data, _ = load_data(context)
        queried, ids = _queried(list(queries_of(context).values()))
        table = image_values(queried, self.num_attacked, ids)
        return Outcome(
            rows=_rows(table),
            tables={"memorization": table, "pictures": pictures(data, _most_memorized(table, self.shown))},
        )

    def rederived(self, context: Context) -> list[Row]:
        """All rows, from the table of images."""
        return _rows(context.own_table("memorization"))


def _queried(found: list[Query]) -> tuple[Queried, dict[str, np.ndarray]]:
    """Of all replicas, and who the images are."""
    ids = {name: found[0][role].numpy() for name, role in _IDS.items()}
    assert all((each["image_id"].numpy() == ids["image_id"]).all() for each in found), "replicas of other images"
    robust = [each["adversarial"].numpy() for each in found]
    sides = (np.stack([each[name].numpy() for each in found]) for name in ("is_member", "is_out", "never_seen"))
    return Queried(
        np.stack([each["correct"].numpy() for each in found]),
        np.stack([each["margins"][:, 0].numpy() for each in found]),
        np.stack([each.min(1) if each.shape[1] else np.full(len(each), np.nan) for each in robust]),
        *sides,
    ), ids


_IDS = {"image_id": "image_id", "class_id": "label", "group": "group"}


def _most_memorized(table: pa.Table, most: int) -> list[int]:
    """Ids, the most memorised first: of equal memorisation the larger gap of margins."""
    value, gap = (table[name].to_numpy() for name in ("memorization", "margin_gap"))
    order = np.lexsort((-gap, -value))  # NaN comes last
    ids = table["image_id"].to_numpy()
    return [int(ids[i]) for i in order[:most] if value[i] > 0]


def _rows(table: pa.Table) -> list[Row]:
    """The mean memorisation and the share of memorised images; intervals over images, for these trained models."""
    value = table["memorization"].to_numpy()
    known = value[~np.isnan(value)]
    if not len(known):
        why = "no private image is trained on by one replica and not by another"
        return [Row(metric=name, value=None, n=0, note=why) for name in ("memorization_mean", "memorized_share")]
    mean = float(known.mean()), float(known.std() / np.sqrt(len(known)))
    return [
        Row(metric=name, value=middle, low=middle - _HALF * error, high=middle + _HALF * error, n=len(known))
        for name, (middle, error) in (("memorization_mean", mean), ("memorized_share", memorized_share(known)))
    ]
