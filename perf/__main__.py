"""`make perf`: our PGD, adversarial training and inversion beside the same work done by others, in one run."""

import argparse
import contextlib
import functools
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.data.embedded import FashionMNIST13k
from benchmark.evasion.attack import frozen
from benchmark.evasion.pgd import PGD
from benchmark.machine.freed_memory import keep_freed_memory
from benchmark.models.classifier import InputInfo
from benchmark.regimes.regime import to_float
from benchmark.regimes.standard import Standard
from perf import manipulation, measure, plain, report, training
from perf.contenders import CONTENDERS, Ball, attack_all
from perf.processes import Contender, interleaved
from perf.training import TRAINING

LINF, L2 = Ball("linf", 0.1), Ball("l2", 1.5)
OURS = next(iter(CONTENDERS))
LOOP, ROBUSTNESS = "plain PyTorch loop", "robustness"
KEPT = ", memory kept"
"""Ends the name of a peer whose process keeps freed memory, as ours does."""

ELSEWHERE = "## Many trials on many nodes"
"""Heading of what `python -m perf.simulate` measured; `make perf` leaves it as it is."""


class Bench:
    """The data, a process for every contender, and each measurement as a section of the report."""

    def __init__(self, options: argparse.Namespace, contenders: dict[str, Contender]) -> None:
        data = FashionMNIST13k().load(None)
        self.info = InputInfo(1, 28, 28, 10, data.mean, data.std)
        self.members, self.member_labels = data.images[: options.members], data.labels[: options.members]
        self.images, self.labels = to_float(data.test_images[: options.images]), data.test_labels[: options.images]
        self.batch_size, self.rounds, self.contenders = options.batch_size, options.rounds, contenders

    def training(self) -> tuple[report.Section, nn.Module, nn.Module]:
        """Our adversarial training against the textbook's; returns our robust and our standard network."""
        data = (self.info, self.members, self.member_labels)
        work = {
            OURS: (self.contenders[OURS], functools.partial(training.ours, TRAINING, *data)),
            LOOP: (self.contenders[LOOP], functools.partial(training.with_plain_loop, *data)),
        }
        times, trained = interleaved(work, max(2, self.rounds // 2))
        judge = PGD(epsilon=LINF.epsilon, steps=LINF.steps)
        accuracy = {}
        for name, model in trained.items():
            found = judge.perturb(model, self.images, self.labels, torch.Generator().manual_seed(0)).images
            scores = [
                measure.judged(model, self.images, x, self.labels, "linf", LINF.epsilon) for x in (self.images, found)
            ]
            accuracy[name] = (scores[0], scores[1])
        seen = len(self.members) // TRAINING.batch_size * TRAINING.batch_size * TRAINING.epochs
        standard = training.ours(Standard(epochs=TRAINING.epochs), *data)
        return report.training(times, seen, accuracy), trained[OURS], standard

    def attack(self, title: str, model: nn.Module, ball: Ball) -> report.Section:
        """PGD by every contender, in rounds, on one model."""
        given = (model, ball, self.info.num_classes, self.images, self.labels, self.batch_size)
        work = {
            name: (contender, functools.partial(attack_all, name.removesuffix(KEPT), *given))
            for name, contender in self.contenders.items()
            if name.removesuffix(KEPT) in CONTENDERS
        }
        times, found = interleaved(work, self.rounds)
        robust = {n: self._judged(model, x, ball) for n, x in found.items()}
        return report.attack(title, times, robust, OURS, KEPT)

    def _judged(self, model: nn.Module, found: Tensor, ball: Ball) -> float:
        judge = model if isinstance(model, plain.PlainNetwork) else training.as_plain(model, self.info)
        return measure.judged(judge, self.images, found, self.labels, ball.norm, ball.epsilon)

    def manipulation(self, model: nn.Module, samples_per_class: int) -> report.Section:
        """Our inversion against input manipulation, on our network and on the textbook's form of it."""
        shape, num_classes = tuple(self.images.shape[1:]), self.info.num_classes
        targets = torch.arange(num_classes).repeat_interleave(samples_per_class)
        forms = {"as in the suites": model, "plain contiguous": training.as_plain(model, self.info)}
        calls = {OURS: manipulation.ours, ROBUSTNESS: manipulation.with_robustness}
        work = {}
        for form, network in forms.items():
            for name, contender in self.contenders.items():
                if call := calls.get(name.removesuffix(KEPT)):
                    given = functools.partial(call, network, shape, num_classes, samples_per_class)
                    work[f"{name}; network {form}"] = (contender, given)
        times, found = interleaved(work, self.rounds)
        confidence = {}
        for name, images in found.items():
            with torch.no_grad():
                probability = forms["plain contiguous"](images).softmax(1).gather(1, targets[:, None])
            confidence[name] = float(probability.mean())
        return report.manipulation(times, len(targets) * manipulation.STEPS, confidence, list(forms), OURS, KEPT)

    def shares(self, standard: nn.Module, robust: nn.Module, ceiling: float) -> report.Section:
        """GFLOP/s of our attack and inversion, as shares of what a matrix product reaches."""
        method = PGD(epsilon=LINF.epsilon, steps=LINF.steps)

        def attack(model: nn.Module) -> None:
            for x, y in zip(self.images.split(self.batch_size), self.labels.split(self.batch_size), strict=True):
                method.perturb(model, x, y, torch.Generator())

        invert = functools.partial(manipulation.ours, robust, tuple(self.images.shape[1:]), self.info.num_classes, 8)
        work: dict[str, tuple[nn.Module, Callable[[], object]]] = {
            "PGD-20, adversarially trained": (robust, lambda: attack(robust)),
            "PGD-20, standard": (standard, lambda: attack(standard)),
            f"inversion, 80 images, {manipulation.STEPS} steps": (robust, invert),
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


def started(stack: contextlib.ExitStack, threads: int) -> dict[str, Contender]:
    """Every contender's process; the peers' also with the allocator set as ours is."""
    peers = [name for name in CONTENDERS if name != OURS] + [ROBUSTNESS]
    found = {OURS: Contender(threads, keeps_memory=True), LOOP: Contender(threads, keeps_memory=False)}
    found |= {name: Contender(threads, keeps_memory=False) for name in peers}
    found |= {name + KEPT: Contender(threads, keeps_memory=True) for name in peers}
    for contender in found.values():
        stack.enter_context(contender)
    return found


def measured_elsewhere(path: Path) -> str:
    """The end of an earlier report, which other programs measured, from its heading on."""
    _, heading, rest = (path.read_text() if path.exists() else "").partition(ELSEWHERE)
    return f"\n{heading}{rest}" if heading else ""


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
    keep_freed_memory()
    sections = [report.heading(options.threads, options.images, options.members, options.batch_size, options.rounds)]
    print(sections[0])

    def add(section: report.Section) -> None:
        sections.append(section)
        print(section, flush=True)

    with contextlib.ExitStack() as stack:
        bench = Bench(options, started(stack, options.threads))
        section, robust, standard = bench.training()
        add(section)
        for trained, model in (("adversarially trained", robust), ("standard-trained", standard)):
            for ball in (LINF, L2):
                add(bench.attack(f"PGD-20, {ball.norm} {ball.epsilon}, {trained}", model, ball))
            textbook = training.as_plain(model, bench.info)
            add(bench.attack(f"PGD-20, linf {LINF.epsilon}, {trained}, plain contiguous network", textbook, LINF))
        add(bench.manipulation(robust, samples_per_class=8))
        add(bench.shares(standard, robust, measure.matmul_ceiling()))
    options.output.write_text("\n".join(sections) + measured_elsewhere(options.output))


if __name__ == "__main__":
    main()
