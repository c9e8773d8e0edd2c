"""Which queries of a model an attack looks at."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from benchmark.membership.attack import MembershipAttack
from benchmark.membership.signals import Signals

Signal = Literal["images", "adversarial", "both"]
"""The image with its mirror and shifts; adversarial versions of it (Song, Shokri and Mittal 2019); all of these."""

LARGEST = 1e30
"""Margins are cut off here, so that their squares are finite: no margin of a network comes near it."""


Count = Annotated[int, Field(ge=1, le=1_000)] | None
"""How many queries of an image to look at, the image itself first; None: all. Networks that were trained without
mirrors and shifts know their members best as they are: there one query tells more than several."""


class AttackOnSignal(MembershipAttack):
    """An attack that may look at adversarial versions of the images, in place of the images or besides."""

    signal: Signal = "images"

    @property
    def needs_adversarial(self) -> bool:  # type: ignore[override]
        return self.signal != "images"


def margins_of(signals: Signals, which: Signal, queries: Count = None) -> Tensor:
    """(..., P, Q) float64 of the queries that `which` names, of the image at most `queries`, cut off at LARGEST.

    Raises ValueError if there is none: `adversarial` without adversarial versions.
    """
    if which == "images":
        chosen = signals.margins[..., :queries]
    elif which == "adversarial":
        chosen = signals.adversarial
    else:
        chosen = torch.cat([signals.margins[..., :queries], signals.adversarial], dim=-1)
    if chosen.shape[-1] == 0:
        raise ValueError(f"signal {which!r}: this model was asked no such query; allowed: 'images'")
    return chosen.double().clamp(-LARGEST, LARGEST)
