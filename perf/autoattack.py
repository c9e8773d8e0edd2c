"""`python -m perf.autoattack`: our AutoAttack beside others', on five networks, in one run.

Trains the networks on the embedded Fashion-MNIST first (or reads them from --models, where it also keeps them), attacks
each by every contender in turn, each in a process of its own, and writes one section of `perf/RESULTS.md`.
--original: a folder with the authors' package `autoattack` (github.com/fra31/auto-attack), where somebody has one.
"""

import argparse
import contextlib
import functools
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.data.embedded import FashionMNIST13k
from benchmark.machine.freed_memory import keep_freed_memory
from benchmark.models.classifier import InputInfo
from benchmark.models.softmax_regression import SoftmaxRegression
from benchmark.regimes.pgd_at import PGDAdversarialTraining
from benchmark.regimes.regime import to_float
from benchmark.regimes.standard import Standard
from benchmark.regimes.trades import TRADES
from perf import measure, report
from perf.ensembles import CONTENDERS, ORIGINAL, OURS, SCREENED, UNSCREENED, Attacked, Threat, attack_all
from perf.processes import Contender
from perf.training import TRAINING, network

MOST_ABOVE, AT_LEAST_SCREENED, AT_LEAST_UNSCREENED = 0.003, 4.0, 2.5
"""The bar: robust accuracy above the original's, and how often its time is ours, on each network."""


@dataclass(frozen=True)
class Case:
    """A network with the ball it is attacked in: where it makes some errors, but not all."""

    name: str
    regime: Standard | PGDAdversarialTraining
    norm: str
    epsilon: float
    softmax: bool = False


CASES = (
    Case("standard", Standard(epochs=TRAINING.epochs), "linf", 0.05),
    Case("pgd_at linf", TRAINING, "linf", 0.1),
    Case("pgd_at l2", TRAINING.model_copy(update={"norm": "l2", "epsilon": 1.5}), "l2", 1.5),
    Case("trades", TRADES(epsilon=0.1, steps=3, epochs=TRAINING.epochs, warm_epochs=2), "linf", 0.1),
    Case("softmax regression", Standard(epochs=TRAINING.epochs), "linf", 0.05, softmax=True),
)


@dataclass(frozen=True)
class Run:
    """One contender on one network. seconds: of the processor. robust: (N,) bool, judged by one function for all."""

    seconds: float
    robust: Tensor
    attacked: Attacked


def trained(case: Case, members: int, folder: Path | None) -> nn.Module:
    path = folder / f"{case.name.replace(' ', '-')}-{members}.pt" if folder else None
    data = FashionMNIST13k().load(None)
    info = InputInfo(1, 28, 28, 10, data.mean, data.std)
    model = SoftmaxRegression().build(info) if case.softmax else network(info)
    if path and path.exists():
        model.load_state_dict(torch.load(path))
        return model.eval()
    model.initialise(torch.Generator().manual_seed(0))
    case.regime.fit(model, data.images[:members], data.labels[:members], torch.Generator().manual_seed(1))
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), path)
    return model.eval()


def attacked(case: Case, model: nn.Module, threat: Threat, contenders: dict[str, Contender]) -> dict[str, Run]:
    found = {}
    for name, contender in contenders.items():
        _, seconds, done = contender.run(functools.partial(attack_all, name, model, threat))
        measure.judged(model, threat.images, done.images, threat.labels, case.norm, case.epsilon)
        with torch.no_grad():
            right = [model(x).argmax(1) == threat.labels for x in (threat.images, done.images)]
        found[name] = Run(seconds, right[0] & right[1], done)
        print(f"{case.name}: {name}: {found[name].robust.float().mean():.3f}, {seconds:.1f} s", flush=True)
    return found


def table(case: Case, runs: dict[str, Run], reference: str) -> str:
    """One network's: a row a contender, compared with `reference`."""
    rows, base = [], runs[reference]
    for name, run in runs.items():
        harder, easier = int((~run.robust & base.robust).sum()), int((run.robust & ~base.robust).sum())
        count = len(run.robust)
        rows.append(
            [
                name,
                f"{run.robust.float().mean():.3f}",
                f"{harder} / {easier}",
                f"{run.seconds:.1f}",
                f"{base.seconds / run.seconds:.2f}",
                f"{run.attacked.forward / count:,.0f}",
                f"{run.attacked.backward / count:,.0f}",
            ]
        )
    columns = ["AutoAttack by", "robust accuracy", "only this fools / only the reference", "seconds"]
    columns += ["times as fast as the reference", "forward passes an image", "backward passes an image"]
    return f"\n### {case.name}, {case.norm} {case.epsilon}\n\n{report.table(columns, rows)}"


def verdict(found: dict[str, dict[str, Run]], reference: str) -> str:
    """Against the bar: on each network, the difference of accuracy and the two ratios of time."""
    rows = []
    for case, runs in found.items():
        base = runs[reference]
        cells = [case]
        for name, least in ((SCREENED, AT_LEAST_SCREENED), (UNSCREENED, AT_LEAST_UNSCREENED)):
            if name not in runs:
                cells += ["not run", "not run"]
                continue
            above = float(runs[name].robust.float().mean() - base.robust.float().mean())
            faster = base.seconds / runs[name].seconds
            cells.append(f"{above:+.3f} ({'within' if above <= MOST_ABOVE + 1e-9 else 'ABOVE'})")
            cells.append(f"{faster:.2f} ({'reached' if faster >= least else 'missed'})")
        rows.append(cells)
    columns = ["network", "screened: accuracy minus the reference's", f"times as fast, at least {AT_LEAST_SCREENED:g}"]
    columns += ["without screen: accuracy", f"times as fast, at least {AT_LEAST_UNSCREENED:g}"]
    return f"\nThe bar: at most {MOST_ABOVE:.1%} above the reference.\n\n{report.table(columns, rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300, help="test images attacked (default %(default)s)")
    parser.add_argument("--members", type=int, default=5500, help="training images (default %(default)s)")
    parser.add_argument("--batch-size", type=int, default=250, help="of every attack (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of everyone (default %(default)s)")
    parser.add_argument("--original", type=Path, help="folder with the authors' package; without it they do not run")
    parser.add_argument("--models", type=Path, help="folder of trained networks: read from there, and kept there")
    parser.add_argument("--only", nargs="+", default=[case.name for case in CASES], help="networks (default: all)")
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), help="by name (default: all)")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    data = FashionMNIST13k().load(None)
    x, y = to_float(data.test_images[: options.images]), data.test_labels[: options.images]
    names = [name for name in options.contenders if name != ORIGINAL or options.original]
    reference = ORIGINAL if ORIGINAL in names else names[-1]
    found: dict[str, dict[str, Run]] = {}
    sections = [report.autoattack(options.threads, options.images, options.members, options.batch_size, reference)]
    with contextlib.ExitStack() as stack:
        contenders = {n: stack.enter_context(Contender(options.threads, keeps_memory=n in OURS)) for n in names}
        for case in (case for case in CASES if case.name in options.only):
            threat = Threat(case.norm, case.epsilon, x, y, 10, options.batch_size, options.original)
            found[case.name] = attacked(case, trained(case, options.members, options.models), threat, contenders)
            sections.append(table(case, found[case.name], reference))
            print(sections[-1], flush=True)
    sections.insert(1, verdict(found, reference))
    print(sections[1])
    report.replace_section(options.output, "".join(sections))


if __name__ == "__main__":
    main()
