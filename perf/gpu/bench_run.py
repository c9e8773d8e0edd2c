"""`bench run` of a suite by the local executor, as a process that can be ended as Ctrl-C ends it."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmark.machine.interrupts import INTERRUPTED

_PROGRAM = """import signal
from benchmark.cli import main
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background may have it ignored
    main()
"""
_ROOT = Path(__file__).parents[2]
_DONE, _SOME_FAILED = 0, 1


@dataclass(frozen=True)
class Ran:
    """code: see `bench run`; None if it had to be killed. folder: what it wrote, `results` and `site`."""

    code: int | None
    seconds: float
    results: Path
    site: Path

    @property
    def whole(self) -> bool:
        """Every trial was run, though some may have failed."""
        return self.code in (_DONE, _SOME_FAILED)


def bench_run(
    folder: Path,
    suite: str,
    device: str,
    *more: str,
    results: Path | None = None,
    limit_s: float | None = None,
    grace_s: float = 30,
) -> Ran:
    """Run a suite of this project; after `limit_s` seconds it gets a Ctrl-C, and `grace_s` to end.

    Raises RuntimeError with the last line that it said, where it refused the suite or broke down.
    """
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "program.py"  # workers import what was run
    program.write_text(_PROGRAM)
    ran = results or folder / "results", folder / "site"
    call = [sys.executable, str(program), "run", suite, "--executor", "local", "--device", device, *more]
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    begin, said = time.monotonic(), folder / "said.txt"
    with said.open("w") as output:
        process = subprocess.Popen(
            [*call, "--results", str(ran[0]), "--site", str(ran[1])],
            cwd=_ROOT, env=env, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        code = _waited(process, limit_s, grace_s)
    text = said.read_text(errors="replace")
    print(text, flush=True)  # for the section's log
    found = Ran(code, time.monotonic() - begin, *ran)
    stopped = limit_s is not None and code in (None, INTERRUPTED)
    if not found.whole and not stopped:
        last = (text.strip().splitlines() or ["it said nothing"])[-1]
        raise RuntimeError(f"bench run {suite}: exit code {code}: {last}")
    return found


def _waited(process: "subprocess.Popen[bytes]", limit_s: float | None, grace_s: float) -> int | None:
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(grace_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None
