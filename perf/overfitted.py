"""`python -m perf.overfitted --results DIR`: the positive control of membership inference, on small ResNets.

The two networks of suites/membership.yaml that know 200 images by heart, 120 epochs each, one trained conventionally
and one adversarially. What DIR lacks of their trainings and queries is run first, in this process; after a run of the
suite, nothing. Every replica is the target once, the shadow replicas too, with those of the other pairs as shadow
models. Of a pair's 400 images each is a member of one and a non-member of the other; rates are of all targets at one
threshold, so that 20 replicas give 4,000 non-members, 4 of which are the 0.1%. Prints Markdown; exits with 1 where LiRA
finds less than the bounds say.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from benchmark import registry, stats
from benchmark.machine.freed_memory import keep_freed_memory
from benchmark.membership.adversarial_loss import AdversarialLoss
from benchmark.membership.attack import MembershipAttack
from benchmark.membership.lira import LiRA
from benchmark.membership.loss_threshold import LossThreshold
from benchmark.membership.signals import Images
from benchmark.planning.check import prepare
from benchmark.planning.plan import Plan
from benchmark.results.store import Store
from benchmark.running.executors.worker import run_trial
from benchmark.stages.shared.queried import Query, shadows_of, signals_of
from benchmark.stats import Scored
from benchmark.trials.trial import Settings

SUITE = Path(__file__).parents[1] / "suites" / "membership.yaml"
MODELS = ("small-resnet-200", "small-resnet-pgd-at-200")
NEEDED = ("pools", "narrow_pools", "train", "query")
ATTACKS: dict[str, MembershipAttack] = {
    "loss_threshold": LossThreshold(),
    "adversarial_loss": AdversarialLoss(),
    "lira, the image": LiRA(queries=1),
    "lira, adversarial version": LiRA(signal="adversarial"),
}
LEAST_AUC, LEAST_TPR = 0.78, 0.04
"""Of the better LiRA; the TPR at 0.1% false alarms."""


def run(plan: Plan, results: str) -> None:
    """What the store lacks. Raises RuntimeError for a trial that fails."""
    settings, store = Settings(results, device="cpu"), Store(results)
    for node in plan.nodes:
        if node.stage in NEEDED and (node.model in MODELS or node.stage == "pools") and not store.has(node.key):
            finished = run_trial(node.trial, settings)
            if not finished.ok:
                raise RuntimeError(f"{node.stage} of {node.model}, replica {node.replica}: {finished.error}")


def queries_of(plan: Plan, store: Store, model: str) -> dict[int, Query]:
    nodes = [node for node in plan.nodes if (node.stage, node.model) == ("query", model)]
    return {node.replica: store.tensors(node.key) for node in nodes if node.replica is not None}


def scored(attack: MembershipAttack, queries: dict[int, Query]) -> list[Scored]:
    """Of every replica as the target, on the images that it is judged on."""
    labels, found = queries[0]["label"], []
    images = Images(labels, torch.zeros(len(labels), 0), labels[:0], torch.zeros(0, 0))
    for replica, own in queries.items():
        scores = attack.scores(signals_of(own), shadows_of(queries, replica // 2), images)
        judged = own["is_member"] | (own["is_out"] & own["never_seen"])
        columns = (scores[judged], own["is_member"][judged], own["group"][judged])
        found.append(Scored(*(column.numpy() for column in columns), replica // 2))
    return found


def rate(found: list[Scored], fpr: float) -> float:
    """Of all targets at one threshold."""
    scores, truth = (np.concatenate([one[i] for one in found]) for i in (0, 1))
    return stats.tpr_at_fpr(scores, truth, fpr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", default="results", help="folder of trials (default %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    plan = prepare(str(SUITE), None, ()).plan
    run(plan, options.results)
    print(
        "| model | attack | AUC (95% interval) | TPR at 1% FPR | TPR at 0.1% FPR |\n| --- | --- | ---: | ---: | ---: |"
    )
    missed = False
    for model in MODELS:
        queries, best = queries_of(plan, Store(options.results), model), (0.0, 0.0)
        for name, attack in ATTACKS.items():
            found = scored(attack, queries)
            area, rates = stats.replicated_auc(found), [rate(found, fpr) for fpr in (0.01, 0.001)]
            shown = f"{area.value:.3f} [{area.low:.3f}, {area.high:.3f}] | {rates[0]:.1%} | {rates[1]:.1%}"
            print(f"| {model} | {name} | {shown} |")
            if registry.name_of("membership", attack) == "lira":
                best = max(best[0], area.value), max(best[1], rates[1])
        missed |= best[0] < LEAST_AUC or best[1] < LEAST_TPR
    said = "missed" if missed else "reached"
    print(f"\nLiRA: AUC {LEAST_AUC} and {LEAST_TPR:.0%} of the members at 0.1% false alarms, on each network: {said}.")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
