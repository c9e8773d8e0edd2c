"""What `make gpu` leaves: one JSON and one Markdown file, with what the figures were measured on."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from benchmark.trials.provenance import device_name, git_commit
from perf.gpu.timed import Section

COMMIT = Path(__file__).with_name("COMMIT")
"""Of code that came without its history, see `folder`."""
_OTHERS = ("torchvision", "triton", "numpy", "faiss-gpu", "faiss-cpu", "ray")


def hardware(device: str) -> dict[str, str]:
    """What the figures were measured on, and with which versions."""
    found = {"device": device_name(device), "cores": str(len(os.sched_getaffinity(0)))}
    if device.startswith("cuda"):
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        found["GPU memory"] = f"{torch.cuda.get_device_properties(device).total_memory / 2**30:.0f} GiB"
        try:
            said = subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout
            found["driver"] = said.partition("\n")[0].strip()  # a line a GPU
        except (OSError, subprocess.TimeoutExpired):
            found["driver"] = "unknown"
    found |= {"Python": sys.version.split()[0], "torch": torch.__version__, "CUDA": str(torch.version.cuda)}
    found["cuDNN"] = str(torch.backends.cudnn.version())
    for name in _OTHERS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            if not name.startswith("faiss"):
                found[name] = "none"
    if not any(name.startswith("faiss") for name in found):
        found["faiss"] = "none"
    found["this project"] = COMMIT.read_text().strip() if COMMIT.exists() else git_commit()
    return found


def write(folder: Path, made: dict[str, str], sections: Sequence[Section]) -> None:
    """Write `gpu.json` and `gpu.md`."""
    (folder / "gpu.json").write_text(json.dumps({"made": made, "sections": [asdict(s) for s in sections]}, indent=1))
    lines = [", ".join(f"{name} {value}" for name, value in made.items())]
    for section in sections:
        lines += ["", f"### {section.name} ({section.seconds:.0f} s of {section.limit_s:.0f})", ""]
        lines += [section.problem, ""] if section.problem else []
        if section.rows:
            names = list(dict.fromkeys(name for row in section.rows for name in row))
            lines += [f"| {' | '.join(names)} |", "|" + " --- |" * len(names)]
            lines += [f"| {' | '.join(_cell(row.get(name)) for name in names)} |" for row in section.rows]
    (folder / "gpu.md").write_text("\n".join(lines) + "\n")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return "" if value is None else str(value).replace("|", "\\|")
