"""Passes the adversarial images that trials kept through their networks again, for `bench verify --models`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from benchmark.results.store import CorruptArtifact, Store
from benchmark.trials.trial import Context, Settings

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 1e-3
"""By which another device's logits may differ, as a share of the largest of an image, or of 1."""


class Passed(NamedTuple):
    """where: in words. num_images: that fooled a network. margin: the largest by which it judges one of them right, as
    `ROUNDING` is measured; 0 where it judges all wrong. problem: why they could not be passed, else "".
    """

    where: str
    num_images: int = 0
    margin: float = 0.0
    problem: str = ""


def passed_again(store: Store, settings: Settings) -> Iterator[Passed]:
    """Of every finished evasion trial of the store's suites that kept its images."""
    seen: set[str] = set()
    for node in (node for manifest in store.plans() for node in manifest["nodes"] if node["stage"] == "evade"):
        key, replica = node["key"], node["replica"]
        if key in seen or not store.has(key):
            continue
        seen.add(key)
        where = f"{node['model']} replica {replica or 0} evade {node['method']}"
        try:
            if "test_adversarial" in store.tensor_names(key):
                yield _passed(Context(store.trial(key), store, settings), where)
        except (ValueError, OSError, CorruptArtifact, LookupError, RuntimeError) as error:
            yield Passed(where, problem=" ".join(f"{error}".split()) or type(error).__name__)


def _passed(context: Context, where: str) -> Passed:
    import torch

    from benchmark.stages.shared.inputs import apply, load_target

    data, _, model = load_target(context)
    kept, images, labels = context.own_tensors(), [], []
    classes = {"test": data.test_labels, "members": torch.cat([data.labels, data.test_labels])}
    for pool in (pool for pool in classes if f"{pool}_adversarial" in kept):
        clean, robust, ids, fooling = (kept[f"{pool}_{name}"] for name in ("clean", "robust", "ids", "adversarial"))
        images.append(fooling)
        labels.append(classes[pool][ids[clean & ~robust][: len(fooling)]])
    every, truth = torch.cat(images), torch.cat(labels)
    if not len(every):
        return Passed(where)
    return Passed(where, len(every), max(0.0, float(_margins(apply(model, every, context.device), truth).max())))


def _margins(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """logits: (N, K), labels: (N,) -> (N,) of the right class above the best other one, relative to the largest."""
    right = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], float("-inf")).amax(1)
    return (right - others) / logits.abs().amax(1).clamp(min=1)
