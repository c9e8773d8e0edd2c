"""Timed sections, in order of worth, each in a process of its own with a limit; results are written after each.

A section that fails or runs out of time stops no other, and keeps the rows that it had. `--minutes` is for all of them
together: each gets its share of what is left, so that one that ends early leaves its time to the later ones.
`--device cpu --tiny` tries the whole of it where there is no GPU.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from perf.gpu import fashion, neighbors, shares, speed, suite, timed, truth, written


@dataclass(frozen=True)
class Given:
    """What a section gets. limit_s: seconds after which it is killed. data_root, results: of `fashion`."""

    device: str
    tiny: bool
    limit_s: float
    data_root: Path | None
    results: Path | None


SECTIONS: dict[str, tuple[float, Callable[[Given], Iterable[dict[str, object]]]]] = {
    "truth": (105, lambda given: truth.measure(given.device, given.tiny)),
    "speed": (95, lambda given: speed.measure(given.device, given.tiny)),
    "suite": (140, lambda given: suite.measure(given.device, given.tiny)),
    "shares": (40, lambda given: shares.measure(given.device, given.tiny)),
    "neighbors": (55, lambda given: neighbors.measure(given.device, given.tiny)),
    "fashion": (
        90,
        lambda given: fashion.measure(given.device, given.tiny, given.limit_s, given.data_root, given.results),
    ),
}
"""Name -> (its share of the time: seconds, if all together have 525 s; what it measures)."""


def main() -> None:
    options = _options()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.section:
        measure = SECTIONS[options.section][1]
        given = Given(options.device, options.tiny, options.limit, options.data_root, options.results)
        sys.exit(int(not timed.kept(measure(given), options.output / f"{options.section}.json")))
    end, sections = time.monotonic() + 60 * options.minutes, []
    made = written.hardware(options.device)
    passed_on = ["--device", options.device, *["--tiny"] * options.tiny]
    for name in ("data_root", "results"):
        if (path := getattr(options, name)) is not None:
            passed_on += [f"--{name.replace('_', '-')}", str(path.resolve())]
    wanted = {name: share for name, (share, _) in SECTIONS.items() if name in options.only}
    for name in wanted:
        seconds = timed.limit(name, end - time.monotonic(), wanted)
        if seconds < timed.LEAST_S:
            sections.append(
                timed.Section(name, limit_s=seconds, problem=f"not begun: {seconds:.0f} s were left for it")
            )
        else:
            sections.append(timed.run(name, seconds, options.output, passed_on))
        print(f"{name}: {sections[-1].problem or 'done'} ({sections[-1].seconds:.0f} s)", flush=True)
        written.write(options.output, made, sections)
    sys.exit(int(any(section.problem for section in sections)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m perf.gpu", description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.8, help="for all sections together; default: %(default)s")
    parser.add_argument("--output", type=Path, default=Path("gpu-results"), help="where gpu.json and gpu.md go")
    parser.add_argument("--data-root", type=Path, help="the folder of Fashion-MNIST's four files, for `fashion`")
    parser.add_argument("--results", type=Path, help="keeps the trials of `fashion`, so that the next call goes on")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tries every section and measures nothing")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION")
    parser.add_argument("--section", choices=SECTIONS, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("torch sees no GPU; allowed: --device cpu --tiny, which tries every section and measures nothing")
    return options


if __name__ == "__main__":
    main()
