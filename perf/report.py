"""The Markdown of `perf/RESULTS.md`."""

import datetime
import importlib.metadata
import os
import platform
import statistics
from collections.abc import Mapping
from pathlib import Path

from perf.measure import Timings, ratio

Section = str
PACKAGES = ("torch", "torchattacks", "foolbox", "adversarial-robustness-toolbox", "robustness", "numpy")
TARGET, INVERSION_TARGET = 1.5, 2.0


def heading(threads: int, num_images: int, num_members: int, batch_size: int, rounds: int) -> Section:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return f"""# The same work, done by us and by others

Written by `make perf` on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}.

- Hardware: {_processor()}, {os.cpu_count()} cores visible, {threads} thread(s) used by everyone. GPU: not measured.
- Software: Python {platform.python_version()}, {versions}. Everything in float32.
- Data: Fashion-MNIST, the embedded 13,000 images: {num_members:,} train, n = {num_images:,} test images attacked.
- Network: the small pre-activation ResNet of the suites. Every contender gets the same network object with the same
  frozen weights, the same images in batches of {batch_size}, the same epsilon, steps and step size (2.5 epsilon / 20)
  and a random start.
- Each contender has a process of its own. Ours keeps freed memory for the next step, as every trial of `bench run` does
  (`benchmark/machine/freed_memory.py`); the peers run as installed, and once more with that setting, to compare.
- Contenders run in turn, {rounds} rounds after one that is not kept; seconds are medians. `ratio` is the fastest peer's
  seconds over ours, round by round, then the median.
- Robust accuracy is computed by one function from the adversarial images alone, after it checked that they lie in the
  ball and in [0, 1]: the share that is right clean and attacked.
"""


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def attack(title: str, times: Mapping[str, Timings], robust: Mapping[str, float], ours: str, kept: str) -> Section:
    """One table: seconds of every contender, ratio to ours, robust accuracy. kept: see `KEPT`."""
    rows = []
    for name, timing in times.items():
        rows.append([name, _spread(timing.wall), f"{statistics.median(timing.cpu):.2f}"])
        rows[-1] += [f"{ratio([timing.wall], times[ours].wall):.2f}", f"{robust[name]:.3f}"]
    found, alike = _ratios(times, ours, kept)
    lowest = min(value for name, value in robust.items() if name != ours)
    verdict = (
        f"Ratio to the fastest peer: **{found:.2f}** ({_target(found, TARGET)}); {alike:.2f} to the fastest whose "
        f"process keeps freed memory as ours does. Robust accuracy {robust[ours]:.3f}, the peers' lowest {lowest:.3f}."
    )
    columns = ["PGD by", "seconds (range)", "CPU seconds", "times ours", "robust accuracy"]
    return f"\n## {title}\n\n{table(columns, rows)}\n{verdict}\n"


def _ratios(times: Mapping[str, Timings], ours: str, kept: str) -> tuple[float, float]:
    """To the fastest peer as it is installed, and to the fastest with our allocator's setting."""
    as_installed = [timing.wall for name, timing in times.items() if name != ours and kept not in name]
    alike = [timing.wall for name, timing in times.items() if kept in name]
    return ratio(as_installed, times[ours].wall), ratio(alike, times[ours].wall)


def _target(found: float, target: float) -> str:
    return f"target {target}: {'reached' if found >= target else 'missed'}"


def manipulation(
    times: Mapping[str, Timings],
    image_steps: int,
    confidence: Mapping[str, float],
    forms: list[str],
    ours: str,
    kept: str,
) -> Section:
    """forms: of the network, the suites' first. Names of `times`: `<contender>; network <form>`."""
    rows = []
    base = f"{ours}; network {forms[0]}"
    for name, timing in times.items():
        rows.append([name, _spread(timing.wall), f"{image_steps / timing.median:,.0f}"])
        rows[-1] += [f"{ratio([timing.wall], times[base].wall):.2f}", f"{confidence[name]:.3f}"]
    by_form = {form: {n.partition(";")[0]: t for n, t in times.items() if n.endswith(form)} for form in forms}
    first, second = forms
    same = {form: "{:.2f} and {:.2f}".format(*_ratios(found, ours, kept)) for form, found in by_form.items()}
    across = _ratios({**by_form[second], ours: times[base]}, ours, kept)
    columns = ["descent by", "seconds (range)", "image steps/s", "times ours", "target confidence"]
    return f"""
## Class-targeted descent on the input, beside MadryLab's `robustness`

{image_steps:,} image steps each: the same starts, l2 steps of equal length, ball and box, in one batch, on the
adversarially trained network. The network in two forms of one function: that of the suites, whose first convolution and
pool run as one, and the textbook's, layer by layer.

{table(columns, rows)}
Image steps a second, ours to theirs: **{across[0]:.2f}** as each comes (our network form here, the textbook's there;
{_target(across[0], INVERSION_TARGET)}), {across[1]:.2f} if their process keeps freed memory too. On one and the same
network object: {same[first]} ({first}), {same[second]} ({second}).
"""


def training(times: Mapping[str, Timings], seen: int, accuracy: Mapping[str, tuple[float, float]]) -> Section:
    """seen: images that a training run steps through. accuracy: clean and robust, of the last round."""
    rows = [
        [name, _spread(t.wall), f"{seen / t.median:,.0f}", f"{accuracy[name][0]:.3f}", f"{accuracy[name][1]:.3f}"]
        for name, t in times.items()
    ]
    (_, own), (_, other) = times.items()
    columns = ["loop", "seconds (range)", "images/s", "clean accuracy", "PGD-20 accuracy"]
    return f"""
## Adversarial training, PGD-3, linf 0.1

Same initial weights, epochs, batch size, optimizer, learning rates, epsilon ramp, attack steps; both attack in eval
mode. The plain loop: contiguous float images from a DataLoader, the network layer by layer, `loss.backward()` in the
attack, so that the weights' gradients are computed and dropped.

{table(columns, rows)}
Ratio: **{ratio([other.wall], own.wall):.2f}**, medians over {len(own.wall)} whole trainings.
"""


def shares(rows: Mapping[str, tuple[int, float, float]], ceiling: float) -> Section:
    """rows: name -> (image steps, seconds, GFLOP/s). ceiling: GFLOP/s of a matrix product."""
    cells = [
        [name, f"{steps:,}", f"{seconds:.2f}", f"{steps / seconds:,.0f}", f"{speed:.1f}", f"{speed / ceiling:.0%}"]
        for name, (steps, seconds, speed) in rows.items()
    ]
    columns = ["work", "image steps", "seconds", "image steps/s", "GFLOP/s", "share of ceiling"]
    return f"""
## Share of the ceiling

A product of 2048 x 2048 float32 matrices reaches **{ceiling:.1f} GFLOP/s** with the same threads. Operations are
those of `torch.utils.flop_counter`: convolutions and products; norms, pools and activations count as none.

{table(columns, cells)}"""


AUTOATTACK = "## AutoAttack, ours and others'"


def autoattack(threads: int, num_images: int, num_members: int, batch_size: int, reference: str) -> Section:
    return f"""{AUTOATTACK}

Written by `python -m perf.autoattack` on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}: {_processor()}, {threads}
thread(s) for everyone, torch {importlib.metadata.version("torch")}, float32, one run.

- The small pre-activation ResNet of the suites and softmax regression, trained on {num_members:,} of the embedded
  Fashion-MNIST images; n = {num_images} test images. Every contender gets the same network object as a user
  would hand it over, in batches of {batch_size}, in a process of its own; ours keeps freed memory, as `bench run` does.
  Seconds are processor seconds, which other programs disturb less.
- Robust accuracy is recomputed from the images alone, by one function, after it checked ball and box. Reference:
  {reference}.
- torchattacks' version "standard" takes 10 steps of APGD and of FAB, not 100, and rescales Square's schedule; it is run
  as installed, and told 100 steps. adv-lib has no Square: its APGD on cross-entropy, targeted APGD and targeted FAB.
- Passes are images that went through the network: FAB's and Square's checks are forward alone.
"""


def replace_section(path: Path, section: Section) -> None:
    """Put a section, which begins with its `## ` heading, where one of that heading is, or at the end of the report."""
    written = path.read_text() if path.exists() else ""
    heading = section.partition("\n")[0]
    before, found, rest = written.partition(heading + "\n")
    _, following, after = rest.partition("\n## ") if found else ("", "", "")
    path.write_text(f"{before.rstrip()}\n\n{section.rstrip()}\n{following}{after}".lstrip())
