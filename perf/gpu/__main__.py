"""Timed sections, in order of worth, each in a process of its own with a limit; results are written after each.

A section that fails or runs out of time stops no other. `--minutes` is for all of them together: a section is begun
only if a third of its limit is left. `--device cpu --tiny` tries the whole of it where there is no GPU.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from perf.gpu import neighbors, shares, speed, suite, truth

SECTIONS: dict[str, tuple[Callable[[str, bool], Iterable[dict[str, Any]]], int]] = {
    "truth": (truth.measure, 150),
    "speed": (speed.measure, 150),
    "suite": (suite.measure, 210),
    "neighbors": (neighbors.measure, 60),
    "shares": (shares.measure, 150),
}
"""Name -> (what is measured, given device and tiny; its limit in seconds)."""
Rows = list[dict[str, Any]]


@dataclass
class Section:
    """rows: of one table. problem: why there are none."""

    name: str
    seconds: float = 0.0
    problem: str = ""
    rows: Rows = field(default_factory=list)


def hardware(device: str) -> dict[str, Any]:
    """What the figures were measured on."""
    found: dict[str, Any] = {"python": sys.version.split()[0], "torch": torch.__version__, "device": device}
    if device == "cuda":
        found["gpu"], found["cuda"] = torch.cuda.get_device_name(), torch.version.cuda
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        found["driver"] = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    found["cores"] = len(os.sched_getaffinity(0))
    return found


def run(name: str, limit_s: float, device: str, tiny: bool, folder: Path) -> Section:
    """One section in a process of its own; its output is the JSON of its rows."""
    begin = time.monotonic()
    output = folder / f"{name}.json"
    output.unlink(missing_ok=True)
    call = [sys.executable, "-m", "perf.gpu", "--section", name, "--output", str(folder), "--device", device]
    section = Section(name)
    with (folder / f"{name}.log").open("w") as log:
        try:
            code = subprocess.run(
                call + ["--tiny"] * tiny, stdout=log, stderr=subprocess.STDOUT, timeout=limit_s
            ).returncode
            section.problem = f"exit code {code}; see {name}.log" if code else ""
        except subprocess.TimeoutExpired:
            section.problem = f"not done in {limit_s:.0f} s"
    if output.exists():  # what was measured before it failed counts
        section.rows = json.loads(output.read_text())
    section.seconds = time.monotonic() - begin
    return section


def written(folder: Path, made: dict[str, Any], sections: list[Section]) -> None:
    """Write `gpu.json` and `gpu.md`."""
    (folder / "gpu.json").write_text(json.dumps({"made": made, "sections": [asdict(s) for s in sections]}, indent=1))
    lines = [", ".join(f"{name} {value}" for name, value in made.items())]
    for section in sections:
        lines += [
            "",
            f"### {section.name} ({section.seconds:.0f} s)",
            "",
            *([section.problem] if section.problem else []),
        ]
        if section.rows:
            names = list(dict.fromkeys(name for row in section.rows for name in row))
            lines += [f"| {' | '.join(names)} |", "|" + " --- |" * len(names)]
            lines += [f"| {' | '.join(_cell(row.get(name, '')) for name in names)} |" for row in section.rows]
    (folder / "gpu.md").write_text("\n".join(lines) + "\n")


def _cell(value: Any) -> str:
    return (
        f"{value:.3g}"
        if isinstance(value, float) and abs(value) < 1000
        else f"{value:,.0f}"
        if isinstance(value, float)
        else str(value)
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf.gpu", description=__doc__)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--output", type=Path, default=Path("gpu-results"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--only", nargs="*", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--section", choices=SECTIONS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.section:
        rows: Rows = []
        for row in SECTIONS[options.section][0](options.device, options.tiny):
            rows.append(row)  # one by one: what runs out of time keeps what it had
            (options.output / f"{options.section}.json").write_text(json.dumps(rows))
        return
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU; allowed: --device cpu --tiny, which tries every section and measures nothing")
    end, sections = time.monotonic() + 60 * options.minutes, []
    for name in options.only:
        left, limit = end - time.monotonic(), SECTIONS[name][1]
        if left < limit / 3:
            sections.append(Section(name, problem=f"not begun: {left:.0f} s were left"))
        else:
            sections.append(run(name, min(left, limit), options.device, options.tiny, options.output))
        print(f"{name}: {sections[-1].problem or 'done'} ({sections[-1].seconds:.0f} s)", flush=True)
        written(options.output, hardware(options.device), sections)
    sys.exit(int(any(section.problem for section in sections)))


if __name__ == "__main__":
    main()
