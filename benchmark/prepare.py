"""A suite file, checked against its data, with its plan. Everything that can be wrong is found here."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmark import data, registry
from benchmark.costs import Sizes
from benchmark.data import pools
from benchmark.data.images import ImageData
from benchmark.manifest import describe
from benchmark.models.classifier import InputInfo
from benchmark.plan import Plan, build_plan
from benchmark.suite import Suite, load_suite


@dataclass(frozen=True)
class Prepared:
    """about: what the page needs to know of the suite, see `manifest.describe`."""

    suite: Suite
    plan: Plan
    about: dict[str, object]


def prepare(path: str, data_root: str | None, include: Sequence[str]) -> Prepared:
    """Read a suite file and its data set, check one against the other, and plan the trials.

    Raises ValueError, in one line, for whatever the user must mend.
    """
    for file in include:
        registry.include(file)
    suite, text = load_suite(path)
    images = data.load(suite.data, data_root)
    pools.check(images, suite.pools, suite.replicas)
    sizes = _sizes(images, suite.pools)
    plan = build_plan(suite, images.fingerprint, sizes)
    return Prepared(suite, plan, describe(suite, text, path, images.card))


def _sizes(images: ImageData, spec: pools.PoolsSpec) -> Sizes:
    """Of the pools before near-duplicates are taken out: exact enough for costs."""
    num_classes = spec.num_classes or len(images.class_names)
    num_images = int((images.labels < num_classes).sum())
    num_auxiliary = round(num_images * spec.auxiliary)
    num_private = num_images - num_auxiliary
    _, channels, height, width = images.images.shape
    return Sizes(
        info=InputInfo(channels, height, width, num_classes, images.mean, images.std),
        num_auxiliary=num_auxiliary,
        num_private=num_private,
        num_members=spec.num_members or num_private // 2,
        num_test=spec.num_test or int((images.test_labels < num_classes).sum()),
    )
