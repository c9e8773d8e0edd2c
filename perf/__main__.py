"""`make perf`: our PGD, adversarial training and inversion beside the same work done by others, in one run."""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.data.embedded import FashionMNIST13k
from benchmark.evasion.attack import frozen
from benchmark.evasion.pgd import PGD
from benchmark.inversion.attack import Victim
from benchmark.inversion.gradient import GradientInversion
from benchmark.models.classifier import InputInfo
from benchmark.models.small_resnet import SmallResNet
from benchmark.regimes.pgd_at import PGDAdversarialTraining
from benchmark.regimes.regime import to_float
from benchmark.regimes.standard import Standard
from perf import measure, plain, report
from perf.contenders import CONTENDERS, Ball

LINF, L2 = Ball("linf", 0.1), Ball("l2", 1.5)
OURS = next(iter(CONTENDERS))
TRAINING = PGDAdversarialTraining(epsilon=LINF.epsilon, steps=3, epochs=6, warm_epochs=2)


class Bench:
    """The data, the two trained networks, and each measurement as a section of the report."""

    def __init__(self, num_images: int, num_members: int, batch_size: int, rounds: int) -> None:
        data = FashionMNIST13k().load(None)
        self.info = InputInfo(1, 28, 28, 10, data.mean, data.std)
        self.members, self.member_labels = data.images[:num_members], data.labels[:num_members]
        self.images, self.labels = to_float(data.test_images[:num_images]), data.test_labels[:num_images]
        self.batch_size, self.rounds = batch_size, rounds

    def network(self) -> nn.Module:
        model = SmallResNet().build(self.info)
        model.initialise(torch.Generator().manual_seed(0))
        return model

    def train_ours(self, regime: Standard | PGDAdversarialTraining) -> nn.Module:
        model = self.network()
        regime.fit(model, self.members, self.member_labels, torch.Generator().manual_seed(1))
        return model

    def train_plain(self) -> nn.Module:
        model = self.as_plain(self.network())
        plain.adversarial_training(
            model,
            self.members.float() / 255,
            self.member_labels,
            epochs=TRAINING.epochs,
            batch_size=TRAINING.batch_size,
            epsilon=TRAINING.epsilon,
            steps=TRAINING.steps,
            warm_epochs=TRAINING.warm_epochs,
            rate=triangle,
            generator=torch.Generator().manual_seed(1),
        )
        return model

    def as_plain(self, model: nn.Module) -> nn.Module:
        """The same weights in the textbook's network, which has the same layers in the same order."""
        copy = plain.PlainNetwork(self.info)
        names, weights = copy.state_dict().keys(), dict(model.state_dict())
        fixed = {name: weights.pop(name) for name in ("mean", "std")}
        inner = [name for name in names if name not in fixed]
        copy.load_state_dict({**fixed, **dict(zip(inner, weights.values(), strict=True))})
        return copy.to(memory_format=torch.contiguous_format).eval()

    def training(self) -> tuple[report.Section, nn.Module]:
        """Our adversarial training against the textbook's; returns our network."""
        trained: dict[str, nn.Module] = {}

        def keep(name: str, train: Callable[[], nn.Module]) -> None:
            trained[name] = train()

        work = {OURS: lambda: self.train_ours(TRAINING), "plain PyTorch loop": self.train_plain}
        times = measure.interleaved(
            {n: functools.partial(keep, n, w) for n, w in work.items()}, max(2, self.rounds // 2)
        )
        judge = PGD(epsilon=LINF.epsilon, steps=LINF.steps)
        accuracy = {}
        for name, model in trained.items():
            found = judge.perturb(model, self.images, self.labels, torch.Generator().manual_seed(0)).images
            scores = [
                measure.judged(model, self.images, x, self.labels, "linf", LINF.epsilon) for x in (self.images, found)
            ]
            accuracy[name] = (scores[0], scores[1])
        seen = len(self.members) // TRAINING.batch_size * TRAINING.batch_size * TRAINING.epochs
        return report.training(times, seen, accuracy), trained[OURS]

    def attack(self, title: str, model: nn.Module, ball: Ball) -> report.Section:
        """PGD by every contender, in rounds, on one model."""
        found: dict[str, Tensor] = {}

        def attack_all(name: str) -> None:
            attack = CONTENDERS[name](model, ball, self.info.num_classes)
            batches = zip(self.images.split(self.batch_size), self.labels.split(self.batch_size), strict=True)
            found[name] = torch.cat([attack(x, y).detach() for x, y in batches])

        # Frozen for everyone: two of the peers would compute and drop the gradients of the weights.
        with frozen(model):
            times = measure.interleaved({n: functools.partial(attack_all, n) for n in CONTENDERS}, self.rounds)
        judge = self.as_plain(model) if not isinstance(model, plain.PlainNetwork) else model
        robust = {
            n: measure.judged(judge, self.images, x, self.labels, ball.norm, ball.epsilon) for n, x in found.items()
        }
        return report.attack(title, times, robust, OURS)

    def shares(self, standard: nn.Module, robust: nn.Module, ceiling: float) -> report.Section:
        """GFLOP/s of our attack and inversion, as shares of what a matrix product reaches."""
        victim = Victim(robust, (1, 28, 28), 10, torch.device("cpu"), *[(self.members, self.member_labels)] * 3)
        inversion = GradientInversion(steps=50, samples_per_class=8)
        method = PGD(epsilon=LINF.epsilon, steps=LINF.steps)

        def attack(model: nn.Module) -> None:
            for x, y in zip(self.images.split(self.batch_size), self.labels.split(self.batch_size), strict=True):
                method.perturb(model, x, y, torch.Generator())

        work: dict[str, tuple[nn.Module, Callable[[], object]]] = {
            "PGD-20, adversarially trained": (robust, lambda: attack(robust)),
            "PGD-20, standard": (standard, lambda: attack(standard)),
            "inversion, 80 images, 50 steps": (robust, lambda: inversion.reconstruct(victim, torch.Generator())),
        }
        times = measure.interleaved({name: run for name, (_, run) in work.items()}, self.rounds)
        rows = {}
        for name, (model, run) in work.items():
            counter = measure.PassCounter(model)
            run()
            counter.close()
            with frozen(model):
                forward, both = measure.flops(model, self.images[:1])
            operations = forward * counter.without + both * counter.with_gradient
            rows[name] = (counter.with_gradient, times[name].median, operations / times[name].median / 1e9)
        return report.shares(rows, ceiling)


def triangle(step: int, steps: int) -> float:
    """The learning rate of `TRAINING`: up over the first fifth, then down to 0."""
    peak = TRAINING.warmup * steps
    return TRAINING.lr * min((step + 1) / peak, (steps - step) / (steps - peak))


def main() -> None:
    parser = argparse.ArgumentParser(prog="make perf", description=__doc__)
    parser.add_argument("--images", type=int, default=1000, help="test images attacked (default %(default)s)")
    parser.add_argument("--members", type=int, default=5500, help="training images (default %(default)s)")
    parser.add_argument("--batch-size", type=int, default=250, help="of every attack (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="times each contender runs (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of everyone (default %(default)s)")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    bench = Bench(options.images, options.members, options.batch_size, options.rounds)
    sections = [report.heading(options.threads, options.images, options.members, options.batch_size, options.rounds)]
    print(sections[0])

    def add(section: report.Section) -> None:
        sections.append(section)
        print(section, flush=True)

    section, robust = bench.training()
    add(section)
    standard = bench.train_ours(Standard(epochs=TRAINING.epochs))
    for trained, model in (("adversarially trained", robust), ("standard-trained", standard)):
        for ball in (LINF, L2):
            add(bench.attack(f"PGD-20, {ball.norm} {ball.epsilon}, {trained}", model, ball))
        add(
            bench.attack(
                f"PGD-20, linf {LINF.epsilon}, {trained}, plain contiguous network", bench.as_plain(model), LINF
            )
        )
    add(bench.shares(standard, robust, measure.matmul_ceiling()))
    options.output.write_text("\n".join(sections))


main()
