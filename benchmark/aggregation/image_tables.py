"""Joins what is known of every private image of a model: memorisation, membership, robustness, exposure. No torch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmark import schema, stats
from benchmark.aggregation.finished_trial import Done
from benchmark.aggregation.recut_nulls import Sides, neighbours
from benchmark.aggregation.strongest_membership import strongest
from benchmark.aggregation.suite_results import SuiteResults
from benchmark.results.store import CorruptArtifact
from benchmark.schema import JUDGES
from benchmark.stages.shared import image_values
from benchmark.trials.trial import Row

STAGE = "memorization"
_DIGITS = 12
_NOT_ELSEWHERE = "from the attacked replicas themselves: chance in them is on both sides, and raises it"

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Exposure:
    """Of P images under one inversion in one space, (P,) each; NaN where an image is on no such side.

    inside, outside: reconstructions whose nearest member, or non-member, it is. cosine: to the nearest reconstruction
    of those that have it among their k nearest members.
    """

    inside: Floats
    outside: Floats
    cosine: Floats


@dataclass(frozen=True)
class ImageTable:
    """One model's private images, P of them.

    values: of `image_values.SCHEMA`. attack: labels of the attacks behind `membership`, (P,) with NaN; "" for none.
    exposures: (inversion, space) -> `Exposure`.
    """

    values: dict[str, Floats]
    attack: str
    membership: Floats
    exposures: dict[tuple[str, str], Exposure]

    @property
    def inversions(self) -> list[str]:
        return list(dict.fromkeys(inversion for inversion, _ in self.exposures))


def image_table(results: SuiteResults, model: str) -> ImageTable | None:
    """None where the model's memorisation was not measured. Raises CorruptArtifact."""
    return results.once(model, "images", lambda: _image_table(results, model))


def _image_table(results: SuiteResults, model: str) -> ImageTable | None:
    trial = next((done for done in results.of_model(model) if done.stage == STAGE), None)
    if trial is None:
        return None
    table = results.table(trial.key, STAGE, image_values.SCHEMA).sort_by("image_id")
    values = {name: table[name].to_numpy().astype(np.float64) for name in table.column_names}
    ids = table["image_id"].to_numpy()
    if table["image_id"].null_count or len(np.unique(ids)) < len(ids):
        raise CorruptArtifact(trial.key, f"{STAGE}.parquet", "an image has no id, or is there twice")
    scored = list(strongest(results, model).trials.values())
    attack = ", ".join(dict.fromkeys(done.method for done in scored))
    exposures: dict[tuple[str, str], Exposure] = {}
    for inversion in results.methods(model, "neighbours"):
        near = {done.key: neighbours(results, done) for done in results.of(model, "neighbours", inversion).values()}
        sides = values["attacked_in"] > 0, values["attacked_out"] > 0
        exposures |= {(inversion, space): _exposure(near, space, ids, *sides) for space in JUDGES}
    return ImageTable(values, attack, _membership(results, scored, ids), exposures)


def _membership(results: SuiteResults, trials: list[Done], ids: Ints) -> Floats:
    """(P,) share of a replica's judged non-members that score lower, mean over the replicas trained on the image."""
    total, count = np.zeros(len(ids)), np.zeros(len(ids))
    for done in trials:
        run, image, _ = results.scores(done)
        above, _ = stats.placements(run.scores[run.is_member], run.scores[run.judged & ~run.is_member])
        at = _places(done.key, "scores.parquet", image[run.is_member], ids)
        np.add.at(total, at, above)
        np.add.at(count, at, 1)
    return _mean(total, count)


def _exposure(
    near: Mapping[str, Mapping[str, Sides]],
    space: str,
    ids: Ints,
    inside: npt.NDArray[np.bool_],
    outside: npt.NDArray[np.bool_],
) -> Exposure:
    """near: key of a trial -> space -> what it found. inside, outside: (P,) bool, images that are on such a side."""
    counts = np.zeros((2, len(ids)))
    cosine = np.full(len(ids), -np.inf)
    for key, found in near.items():
        members, others = (_places(key, "tensors.safetensors", side[0], ids) for side in found[space])
        np.add.at(counts[0], members[:, 0], 1)
        np.add.at(counts[1], others[:, 0], 1)
        np.maximum.at(cosine, members, found[space].inside[1])
    return Exposure(
        np.where(inside, counts[0], np.nan),
        np.where(outside, counts[1], np.nan),
        np.where(np.isfinite(cosine), cosine, np.nan),
    )


def _places(key: str, file: str, wanted: Ints, ids: Ints) -> Ints:
    """Where images are among ids (P,), ascending. Raises CorruptArtifact for one that is none of them."""
    at = np.searchsorted(ids, wanted).clip(max=len(ids) - 1)
    if (ids[at] != wanted).any():
        raise CorruptArtifact(key, file, "an image that is none of the private ones")
    return at


def _mean(total: Floats, count: Floats) -> Floats:
    mean: Floats = total / np.where(count > 0, count, np.nan)
    return mean


def rows(found: ImageTable, suite: str, model: str) -> pa.Table:
    """Rows of `schema.IMAGES`."""
    parts = [_part(found, suite, model, inversion) for inversion in found.inversions or [""]]
    return pa.concat_tables(parts)


def _part(found: ImageTable, suite: str, model: str, inversion: str) -> pa.Table:
    num = len(found.membership)
    columns: dict[str, object] = {
        "suite": [suite] * num,
        "model": [model] * num,
        "inversion": [inversion] * num,
        "membership_attack": [found.attack or None] * num,
        "membership_score": found.membership,
    }
    for space in JUDGES if inversion else ():
        exposure = found.exposures[inversion, space]
        columns |= {f"exposure_{space}": exposure.inside, f"exposure_out_{space}": exposure.outside}
        columns[f"cosine_{space}"] = exposure.cosine
    arrays = []
    for field in schema.IMAGES:
        values = columns.get(field.name, found.values.get(field.name))
        if values is None:
            arrays.append(pa.nulls(num, field.type))
        elif isinstance(values, np.ndarray):
            arrays.append(pa.array(values, pa.float64(), from_pandas=True).cast(field.type))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=schema.IMAGES)


def correlation_rows(found: ImageTable) -> Iterator[Row]:
    """Rank correlations between what is known of the images, with a `stage`; of a pair that has none no row.

    Memorisation is that in the shadow replicas where there are any: one that is estimated from the attacked replicas
    shares their chance with what else is measured on them.
    """
    elsewhere = found.values["memorization_elsewhere"]
    shared = bool(np.isnan(elsewhere).all())
    memorization = found.values["memorization"] if shared else elsewhere
    note = _NOT_ELSEWHERE if shared else None
    margin = found.values["robust_margin"]
    yield from _row(found, "memorization_membership", memorization, found.membership, found.attack, note=note)
    yield from _row(found, "memorization_robust_margin", memorization, margin, note=note)
    yield from _row(found, "membership_robust_margin", found.membership, margin, found.attack)
    for (inversion, space), exposure in found.exposures.items():
        place = inversion, space
        gap = exposure.inside - exposure.outside
        yield from _row(found, "memorization_exposure", memorization, exposure.inside, *place, note=note)
        yield from _row(found, "memorization_exposure_gap", memorization, gap, *place, note=note)
        yield from _row(found, "memorization_cosine", memorization, exposure.cosine, *place, note=note)
        yield from _row(found, "membership_exposure", found.membership, exposure.inside, *place)


def _row(
    found: ImageTable,
    metric: str,
    first: Floats,
    second: Floats,
    method: str = "",
    space: str = "",
    note: str | None = None,
) -> Iterator[Row]:
    # Shares that are equal, summed in another order, differ in the last digit: these are ties.
    interval = stats.rank_correlation(first.round(_DIGITS), second.round(_DIGITS), found.values["group"])
    if interval is not None:
        yield Row(
            stage=STAGE, method=method, space=space, metric=metric,
            value=interval.value, low=interval.low, high=interval.high, n=interval.n, note=note,
        )  # fmt: skip
