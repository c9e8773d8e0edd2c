"""GPU shares: which part of a GPU each kind of trial holds while it runs. They change no number and are in no key."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from benchmark.reading.text import shown
from benchmark.registry import STAGE
from benchmark.spec import Fraction, Spec, SpecError, suggest

DEFAULT_GPUS = {
    "pools": 0.0,
    "tuning_pools": 0.0,
    "declare_members": 0.0,
    "narrow_pools": 0.0,
    "infer_membership": 0.0,
    "memorization": 0.0,
    "leakage": 0.0,
    "import": 0.25,
    "embed": 0.25,
    "embed_auxiliary": 0.25,
    "predict": 0.25,
    "probe": 0.25,
    "recognise": 0.25,
    "neighbours": 0.25,
    "train": 0.5,
    "fit_prior": 0.5,
    "query": 0.5,
    "evade": 0.5,
    "invert": 0.5,
}
"""A small network leaves most of a data-centre GPU idle; a trial that its share is too small for gets a whole one."""
_STEP = 1e-4
_MOST = 64


def checked_share(value: float) -> float:
    """The share, if Ray can reserve it. Raises SpecError."""
    steps = value / _STEP
    if not 0 <= value <= _MOST or abs(steps - round(steps)) > 1e-6 or (value > 1 and value % 1):
        allowed = f"0 to 1 in steps of {_STEP:.4f}, or a whole number up to {_MOST}"
        raise SpecError(f"{value!r} is no share of GPUs; allowed: {allowed}")
    return value


class Share(Spec):
    """What a trial of one stage holds. gpus: 0 keeps it off the GPU; more than 1 are whole GPUs."""

    gpus: Annotated[Fraction, AfterValidator(checked_share), Field(ge=0, le=_MOST)]


def _stages(value: Any) -> Any:
    if isinstance(value, dict):
        for name in value:
            if name not in STAGE:
                raise SpecError(f"unknown stage {shown(name)}{suggest(name, STAGE)}")
    return value


Resources = Annotated[dict[str, Share], BeforeValidator(_stages)]
"""Stage -> what its trials hold, where it is not the default."""


def gpu_shares(chosen: Mapping[str, Share], every: float | None = None) -> tuple[tuple[str, float], ...]:
    """(stage, GPUs) of every stage, for `Settings.gpus`. every: for all stages that use a GPU, whatever was chosen."""
    shares = DEFAULT_GPUS | {stage: share.gpus for stage, share in chosen.items()}
    if every is not None:
        shares = {stage: every if share else 0.0 for stage, share in shares.items()}
    return tuple(shares.items())


def check_gpus(every: float | None, device: str) -> None:
    """Raise SpecError for a `--gpus-per-trial` that no trial can hold, or none on this device."""
    if every is None:
        return
    try:
        checked_share(every)
    except SpecError as error:
        raise SpecError(f"--gpus-per-trial: {error}") from None
    if not every and device.startswith("cuda"):
        raise SpecError(f"--gpus-per-trial: 0.0 with --device {device}; allowed: more than 0, or --device cpu")


def gpus_of(stage: str, shares: Mapping[str, float]) -> float:
    """GPUs that a trial of this stage holds where there are any; a stage that nobody knows gets a whole one."""
    return shares.get(stage, DEFAULT_GPUS.get(stage, 1.0))
