"""The positive control: networks that know their 100 members by heart give them away, and a coin's members stay hidden.

Softmax regression has 7,850 weights for 100 images of 784 pixels. What small ResNets give away: `perf/overfitted.py`.
"""

from collections.abc import Iterator
from typing import cast

import numpy as np
import pytest
import torch

from benchmark import registry, stats
from benchmark.data.embedded import FashionMNIST13k
from benchmark.membership.attack import MembershipAttack
from benchmark.membership.signals import Images, margins
from benchmark.models.classifier import Architecture, InputInfo
from benchmark.regimes.regime import to_float
from benchmark.regimes.standard import Standard
from benchmark.stages.infer_membership import Inferred, inferred
from benchmark.stages.shared.queried import Query
from benchmark.stats import Scored

NUM_IMAGES, NUM_REPLICAS, EPOCHS = 200, 16, 100

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in a trial: matrices are so small that a second thread costs more than it saves."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def queries() -> dict[int, Query]:
    """8 pairs of complements, trained and asked about the images themselves."""
    data, draw = FashionMNIST13k().load(None), torch.Generator().manual_seed(0)
    images, labels = data.images[:NUM_IMAGES], data.labels[:NUM_IMAGES]
    architecture = cast(Architecture, registry.parse("architecture", "softmax_regression"))
    found, nothing = {}, torch.zeros(NUM_IMAGES, 0, dtype=torch.float64)
    for replica in range(NUM_REPLICAS):
        if replica % 2 == 0:
            first = torch.randperm(NUM_IMAGES, generator=draw) < NUM_IMAGES // 2
        inside = first if replica % 2 == 0 else ~first
        model = architecture.build(InputInfo(1, 28, 28, 10, data.mean, data.std))
        seed = torch.Generator().manual_seed(replica)
        model.initialise(seed)
        Standard(epochs=EPOCHS, lr=0.02).fit(model, images[inside], labels[inside], seed)
        with torch.no_grad():
            margin = margins(model(to_float(images)), labels)[:, None]
        assert bool((margin[inside] > 0).all()), "it fits every member"
        found[replica] = {
            "margins": margin, "adversarial": nothing, "auxiliary": nothing[:0],
            "is_member": inside, "is_out": ~inside, "never_seen": ~inside, "label": labels,
        }  # fmt: skip
    return found


def attacked(name: str, queries: dict[int, Query]) -> tuple[list[Inferred], list[Scored]]:
    attack, labels = cast(MembershipAttack, registry.parse("membership", name)), queries[0]["label"]
    images = Images(labels, torch.zeros(NUM_IMAGES, 0), labels[:0], torch.zeros(0, 0))
    found = [inferred(attack, queries, replica, images) for replica in queries]
    return found, [
        Scored(one.scores.numpy(), queries[replica]["is_member"].numpy(), np.arange(NUM_IMAGES), replica // 2)
        for replica, one in enumerate(found)
    ]


def tpr(scored: list[Scored], fpr: float) -> float:
    """All replicas at one threshold: 1,600 non-members."""
    return stats.tpr_at_fpr(*(np.concatenate([one[i] for one in scored]) for i in (0, 1)), fpr)


def test_lira_finds_the_members_of_overfitted_networks(queries: dict[int, Query]) -> None:
    """As many as in overfitted ResNets at the least: AUC 0.78, 4% of them at 0.1% false alarms. And far more than the
    loss, which does not know that some images are easy.
    """
    found, scored = attacked("lira", queries)
    area = stats.replicated_auc(scored)
    assert area.value > 0.78 and area.low > 0.75
    assert tpr(scored, 0.001) > 0.04 and tpr(scored, 0.01) > 0.1
    _, by_loss = attacked("loss_threshold", queries)
    assert stats.replicated_auc(by_loss).high < area.low and tpr(by_loss, 0.01) < 0.1
    shadow_auc = np.mean([one.shadow_auc for one in found if one.shadow_auc is not None])
    assert shadow_auc == pytest.approx(area.value, abs=0.03), "what is seen on shadow models holds for the target"


def test_members_drawn_by_coin_after_the_training_are_not_found(queries: dict[int, Query]) -> None:
    draw, drawn = torch.Generator().manual_seed(1), {}
    for replica, query in queries.items():
        if replica % 2 == 0:
            first = torch.randperm(NUM_IMAGES, generator=draw) < NUM_IMAGES // 2
        inside = first if replica % 2 == 0 else ~first
        drawn[replica] = {**query, "is_member": inside, "is_out": ~inside, "never_seen": ~inside}
    area = stats.replicated_auc(attacked("lira", drawn)[1])
    assert area.low <= 0.5 <= area.high and abs(area.value - 0.5) < 0.04
