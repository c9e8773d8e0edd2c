"""Membership attacks and memorisation of many replicas, beside plain loops and PrivacyGuard where it is installed.

    python -m perf.membership_speed [--replicas 16 --images 8000 --queries 2 --processes 2]

Every replica is the target once, with the replicas of the other pairs as its shadow models. Margins are simulated; the
time of an attack does not depend on them. Loops run on a few images, and their time is scaled up; scores are compared.
Signals are the passes of the stage `query` over images and mirrors of every replica, adversarial versions apart, in
processes of one thread each, which have started before the clock does.
PrivacyGuard: pip install --no-deps privacyguard-platform==0.0.2 pyre-extensions. Prints Markdown.
"""

import argparse
import functools
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from scipy.special import expit
from scipy.stats import norm
from torch import Tensor

from benchmark.data.embedded import FashionMNIST13k
from benchmark.data.images import ImageData
from benchmark.evasion.attack import channels_last, folded
from benchmark.machine.freed_memory import keep_freed_memory
from benchmark.membership.attack import MembershipAttack
from benchmark.membership.bavaria import BaVarIA
from benchmark.membership.calibrated_loss import CalibratedLoss
from benchmark.membership.lira import LiRA
from benchmark.membership.rmia import RMIA
from benchmark.membership.signals import Images, Shadows, Signals
from benchmark.memorization.counterfactual import counterfactual_memorization
from benchmark.models.classifier import Classifier, InputInfo
from benchmark.stages.query import Query
from perf.training import network

Scores = dict[str, np.ndarray]


class Replicas:
    """Simulated answers of R replicas in pairs about P images, in Q queries, and about A auxiliary ones."""

    def __init__(self, replicas: int, images: int, queries: int, auxiliary: int) -> None:
        draw = torch.Generator().manual_seed(0)
        halves = torch.rand(replicas // 2, images, generator=draw) < 0.5
        self.member = torch.stack([halves, ~halves], dim=1).flatten(0, 1)
        self.pair = torch.arange(replicas) // 2

        def margins(member: Tensor) -> Tensor:
            shape = (*member.shape, queries)
            difficulty = 3 * torch.randn(member.shape[1], 1, generator=draw, dtype=torch.float64)
            noise = torch.randn(shape, generator=draw, dtype=torch.float64)
            return 2 + difficulty + member.double()[..., None] + noise

        asked = margins(self.member)
        self.signals = Signals(asked, asked[..., :0], margins(torch.zeros(replicas, auxiliary)))
        nothing = torch.zeros(images, 0)
        self.images = Images(torch.zeros(images), nothing, torch.zeros(auxiliary), torch.zeros(auxiliary, 0))

    def target(self, replica: int) -> tuple[Signals, Shadows]:
        others = self.pair != replica // 2
        models = Signals(*(part[others] for part in self.signals))
        shadows = Shadows(models, self.member[others], ~self.member[others], self.pair[others])
        return Signals(*(part[replica] for part in self.signals)), shadows

    def all_scores(self, attack: MembershipAttack) -> Tensor:
        return torch.stack([attack.scores(*self.target(r), self.images) for r in range(len(self.pair))])

    def memorisation(self) -> np.ndarray:
        correct = (self.signals.margins[..., 0] > 0).numpy()
        return counterfactual_memorization(correct, self.member.numpy(), ~self.member.numpy()).value


def lira_loop(given: Replicas, replica: int, count: int) -> np.ndarray:
    """Carlini et al. 2022, Algorithm 1, with a variance for each image."""
    (asked, *_), shadows = given.target(replica)
    margins, member = shadows.signals.margins.numpy(), shadows.trained_on.numpy()
    scores = np.zeros(count)
    for i in range(count):
        for q in range(asked.shape[1]):
            inside, outside = margins[member[:, i], i, q], margins[~member[:, i], i, q]
            scores[i] += norm.logpdf(asked[i, q], inside.mean(), inside.std(ddof=1))
            scores[i] -= norm.logpdf(asked[i, q], outside.mean(), outside.std(ddof=1))
    return scores


def rmia_loop(given: Replicas, replica: int, count: int) -> np.ndarray:
    """Zarifzadeh et al. 2024: image by image against every population image, queries voting."""
    target, shadows = given.target(replica)
    margins, member = shadows.signals.margins.numpy(), shadows.trained_on.numpy()
    z = expit(target.auxiliary[:, 0].numpy()) / expit(shadows.signals.auxiliary[..., 0].numpy()).mean(0)
    scores = np.zeros(count)
    for i in range(count):
        votes = np.zeros(len(z))
        for q in range(margins.shape[2]):
            p = expit(margins[:, i, q])
            usual = (p[member[:, i]].mean() + p[~member[:, i]].mean()) / 2
            votes += expit(target.margins[i, q].item()) / usual >= z
        scores[i] = (1 + np.sign(2 * votes - margins.shape[2])).mean() / 2
    return scores


def memorisation_loop(given: Replicas, count: int) -> np.ndarray:
    """Feldman and Zhang 2020: share of right models among those that trained on the image, minus that of the others."""
    correct, member = given.signals.margins[..., 0].numpy() > 0, given.member.numpy()
    return np.array([correct[member[:, i], i].mean() - correct[~member[:, i], i].mean() for i in range(count)])


def privacy_guard(given: Replicas, replica: int) -> Scores:
    """LiRA and RMIA, both online, by PrivacyGuard on query 0; nothing where it is not installed."""
    try:
        from privacy_guard.analysis.mia.aggregate_analysis_input import AggregationType
        from privacy_guard.attacks.lira_attack import LiraAttack
        from privacy_guard.attacks.rmia_attack import RmiaAttack
    except ImportError:
        return {}
    import pandas as pd

    target, shadows = given.target(replica)
    margins, member = shadows.signals.margins[..., 0].numpy(), shadows.trained_on.numpy()
    sides = {"in": np.where(member, margins, np.nan), "out": np.where(member, np.nan, margins)}
    moments = {f"score_mean_{side}": np.nanmean(x, 0) for side, x in sides.items()}
    moments |= {f"score_std_{side}": np.nanstd(x, 0, ddof=1) for side, x in sides.items()}
    asked = target.margins[:, 0].numpy()
    images = pd.DataFrame({"user_id": np.arange(len(asked)), "score_orig": asked, **moments})

    def references(own: np.ndarray, models: np.ndarray, trained_on: np.ndarray) -> pd.DataFrame:
        columns = {"user_id": np.arange(len(own)), "score_orig": expit(own)}
        columns |= {f"score_ref_{s}": expit(x) for s, x in enumerate(models)}
        return pd.DataFrame(columns | {f"member_ref_{s}": x for s, x in enumerate(trained_on)})

    population = shadows.signals.auxiliary[..., 0].numpy()
    nobody = np.zeros(population.shape, dtype=bool)
    x, z = references(asked, margins, member), references(target.auxiliary[:, 0].numpy(), population, nobody)
    lira = LiraAttack(images.copy(), images.copy(), AggregationType.MAX, online_attack=True)
    rmia = RmiaAttack(x, x.copy(), z, AggregationType.MAX, num_reference_models=len(margins), online=True)
    found = {}
    for name, attack in {"lira": lira, "rmia": rmia}.items():
        attack.run_attack()
        found[name] = attack.df_train_merge["score"].to_numpy()
    return found


def signals_of_one_replica(num_images: int) -> None:
    """The passes of the stage `query` over so many embedded images, each with its mirror, through the small ResNet."""
    data, model = _network()
    with channels_last(model), folded(model):
        Query()._asked(model, data, torch.arange(num_images), torch.device("cpu"))


@functools.cache
def _network() -> tuple[ImageData, Classifier]:
    torch.set_num_threads(1)
    keep_freed_memory()
    data = FashionMNIST13k().load(None)
    return data, network(InputInfo(1, 28, 28, 10, data.mean, data.std)).eval()


def signals(num_images: int, replicas: int, processes: int) -> float:
    """Seconds for all replicas."""
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(signals_of_one_replica, [500] * 2 * processes))
        start = time.perf_counter()
        list(pool.map(signals_of_one_replica, [num_images] * replicas))
        return time.perf_counter() - start


def timed(work: Callable[[], object], rounds: int) -> float:
    """Median seconds, after one round that is not kept."""
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=16)
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--queries", type=int, default=2, help="of every image (default %(default)s)")
    parser.add_argument("--auxiliary", type=int, default=2000, help="population images (default %(default)s)")
    parser.add_argument("--loop-images", type=int, default=200, help="images of the loops (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2, help="that query the networks (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    given = Replicas(options.replicas, options.images, options.queries, options.auxiliary)
    few = min(options.loop_images, options.images)
    own = LiRA(variance="per_image")
    scale = options.images / few
    loops = {
        "lira": (lambda: given.all_scores(own), lambda: lira_loop(given, 0, few), scale * options.replicas),
        "rmia": (lambda: given.all_scores(RMIA()), lambda: rmia_loop(given, 0, few), scale * options.replicas),
        "memorisation": (lambda: [given.memorisation()], lambda: memorisation_loop(given, few), scale),
    }
    size = f"{options.replicas} replicas, {options.images:,} images, {options.queries} queries"
    print(f"{size}, {options.threads} threads\n")
    print("| what | ours, s | plain loops, s (scaled up) | ratio | largest difference |\n|---|---|---|---|---|")
    total = signals(options.images, options.replicas, options.processes)
    print(f"| signals, {options.processes} processes | {total:.1f} | | | |")
    for name, (ours, loop, factor) in loops.items():
        seconds, slow = timed(ours, options.rounds), timed(loop, options.rounds) * factor
        difference = np.abs(np.asarray(ours()[0])[:few] - loop()).max()
        total += seconds
        print(f"| {name} | {seconds:.3f} | {slow:.1f} | {slow / seconds:.0f} | {difference:.1e} |")
    for name, attack in {"bavaria": BaVarIA(), "calibrated_loss": CalibratedLoss()}.items():
        print(f"| {name} | {timed(lambda a=attack: given.all_scores(a), options.rounds):.3f} | | | |")
    print(f"\nsignals, lira, rmia and memorisation together: {total:.2f} s")
    one = Replicas(options.replicas, options.images, 1, options.auxiliary)
    for name, scores in privacy_guard(one, 0).items():
        attack = own if name == "lira" else RMIA()
        difference = np.abs(attack.scores(*one.target(0), one.images).numpy() - scores).max()
        print(f"\nPrivacyGuard's {name}, {len(scores):,} images, query 0: largest difference {difference:.1e}")


if __name__ == "__main__":
    main()
