"""Many inputs of a surface: draws them, makes those that show a fault smaller, and keeps one a fault."""

import pickle
import shutil
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase

from .harness import HEAVY, Finding, Surface, examine

_SHRINK_S = 20.0
"""CPU time for making the input of a fault smaller."""
_MOST, _MOST_HEAVY = 30, 5
"""Faults of a surface, and inputs that take too long or too much, after which it is left: it has to be mended first."""


@dataclass
class Found:
    """A fault and the smallest input that showed it."""

    signature: str
    text: str
    case: Any


def explore(surface: Surface, folder: Path, seed: int, seconds: float | None = None) -> tuple[list[Found], int]:
    """The faults of a surface, and how many inputs were tried.

    folder: each input gets an empty one of this name; the input at hand is kept beside it, should the process die.
    seconds: of CPU time; default: the surface's number of examples, the same on every machine.
    """
    explorer = _Explorer(surface, folder)
    began, number = time.process_time(), 0
    while len(explorer.found) < _MOST:
        explorer.round(zlib.crc32(f"{surface.name} {seed} {number}".encode()))
        number += 1
        if (
            explorer.heavy >= _MOST_HEAVY
            or explorer.finished
            and (seconds is None or time.process_time() - began > seconds)
        ):
            break
    return list(explorer.found.values()), explorer.inputs


class _Explorer:
    def __init__(self, surface: Surface, folder: Path) -> None:
        self.surface, self.folder, self.found = surface, folder, dict[str, Found]()
        self.finished, self.inputs, self.heavy = False, 0, 0
        self._at_hand: str | None = None
        self._began = 0.0

    def round(self, seed: int) -> None:
        """A round of examples, or as many as it takes to find a fault that is not known."""
        self._at_hand = None
        settings = hypothesis.settings(
            max_examples=self.surface.examples, database=None, deadline=None, report_multiple_bugs=False,
            phases=(Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        test: Callable[[], None] = hypothesis.seed(seed)(settings(hypothesis.given(self.surface.cases)(self._once)))
        try:
            test()
        except (Finding, hypothesis.errors.Flaky):
            assert self._at_hand is not None
            self.finished = False
        else:
            self.finished = True

    def _once(self, case: Any) -> None:
        over = self._at_hand is not None and time.process_time() - self._began > _SHRINK_S
        if over or self.heavy >= _MOST_HEAVY:
            return
        self.inputs += 1
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.folder.with_suffix(".case").write_bytes(pickle.dumps(case))
        try:
            examine(self.surface, case, self.folder)
        except Finding as finding:
            if self._at_hand is None and finding.signature not in self.found and finding.kind not in HEAVY:
                self._at_hand, self._began = finding.signature, time.process_time()
            if finding.signature == self._at_hand:  # the last that is kept is the smallest
                self.found[finding.signature] = Found(finding.signature, finding.text, case)
                raise
            if finding.kind in HEAVY:
                self.heavy += 1
                self.found.setdefault(finding.signature, Found(finding.signature, finding.text, case))
