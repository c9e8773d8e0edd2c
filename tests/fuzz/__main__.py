"""`python -m tests.fuzz`: give the package random and broken input, and say what it does wrong."""

import argparse
import os
import pickle
import pprint
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

from . import checkpoints, image_folders, members, results, suites, tables
from .exploring import Found, explore
from .harness import Finding, Surface, examine

_ALL = (
    suites.SURFACE,
    members.SURFACE,
    image_folders.SURFACE,
    tables.SURFACE,
    results.RECORDS_SURFACE,
    results.TRIALS_SURFACE,
    checkpoints.SURFACE,
)
SURFACES: dict[str, Surface] = {surface.name: surface for surface in _ALL}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, help="CPU time in all; default: a few hundred inputs, always the same")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--surface", action="append", choices=SURFACES, help="only this one; may be given again")
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"), help="folder for what is found")
    parser.add_argument(
        "--again", type=Path, metavar="CASE", help="try the input of a finding again; keep its files beside it"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.again is not None:
        return _again(given.again)
    names = given.surface or list(SURFACES)
    share = given.seconds and given.seconds / len(names)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        tempfile.tempdir = folder
        found = [_apart(SURFACES[name], Path(folder), given.out, given.seed, share) for name in names]
    return int(any(found))


def _apart(surface: Surface, folder: Path, out: Path, seed: int, seconds: float | None) -> bool:
    """Explore a surface in a process of its own, which a bad input may kill. Returns whether there are findings."""
    began = time.monotonic()
    sys.stdout.flush()
    child = os.fork()
    if not child:
        code = 2
        try:
            found, inputs = explore(surface, folder / surface.name, seed, seconds)
            took = time.process_time()
            print(f"{surface.name}: {inputs} inputs in {took:.0f} s of CPU, {len(found)} findings")
            for number, one in enumerate(found):
                _keep(surface, one, out / f"{surface.name}-{number}")
            code = int(bool(found))
        finally:
            sys.stdout.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        case = pickle.loads((folder / surface.name).with_suffix(".case").read_bytes())
        text = f"the process died {time.monotonic() - began:.0f} s after its start"
        _keep(surface, Found(f"dies: {signal.Signals(-code).name}", text, case), out / f"{surface.name}-dead")
    return code != 0


def _keep(surface: Surface, found: Found, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "case").write_bytes(pickle.dumps((surface.name, found.case)))
    case = pprint.pformat(found.case, width=120)
    text = f"{found.signature}\n\n{case[:20_000]}\n\n{found.text}\n"
    (folder / "finding.txt").write_text(text, errors="backslashreplace")
    short = case if len(case) < 1000 else f"{case[:1000]} ..."
    print(f"\n{found.signature}\n{short}\n{found.text[-1500:]}".encode("ascii", "backslashreplace").decode())
    print(f"again: python -m tests.fuzz --again {folder / 'case'}")


def _again(path: Path) -> int:
    name, case = pickle.loads(path.read_bytes())
    folder = path.parent / "input"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        examine(SURFACES[name], case, folder)
    except Finding as finding:
        print(finding)
        return 1
    print("nothing is wrong with it now")
    return 0


if __name__ == "__main__":
    sys.exit(main())
