"""Estimates the floating-point operations of each trial: for the order of the run, the time left and the cost."""

import functools
from dataclasses import dataclass, replace
from typing import cast

import torch

from benchmark.evasion.attack import Evasion
from benchmark.inversion.attack import Inversion
from benchmark.inversion.prior import Prior
from benchmark.models.classifier import Architecture, InputInfo
from benchmark.models.memoriser import Memoriser
from benchmark.models.operations import operations_counted
from benchmark.planning.models_of_suite import ExternalModel, ModelEntry, Recipe
from benchmark.regimes.regime import Regime
from benchmark.spec import Spec, SpecError
from benchmark.stages.probe import MOST_PROBED
from benchmark.stages.shared.queried import MOST_AUXILIARY

_BACKWARD_TO_INPUT = 2.0
"""Forward and backward to the input, in forward passes; with the weights' gradients it is 3."""
_BACKWARD_TO_WEIGHTS = 3.0
ASSUMED_GPU_FLOPS = 2e13
"""Operations a second of a data-centre GPU on small images: an assumption, for suites that were never timed."""
_SMALL = 2**28
"""Weights (1 GiB) that are allocated, though never filled, to count operations."""


@dataclass(frozen=True)
class Sizes:
    """Images in each pool, and what a network for them looks like."""

    info: InputInfo
    num_auxiliary: int
    num_private: int
    num_members: int
    num_test: int

    def of(self, model: Recipe | ExternalModel) -> "Sizes":
        """Those that this model sees: fewer where it has pools of its own."""
        if not isinstance(model, ModelEntry) or model.num_members is None:
            return self
        return replace(self, num_members=model.num_members, num_private=2 * model.num_members)


def pools(sizes: Sizes) -> float:
    """Operations of the search for near-duplicates, which compares all pairs of images."""
    pixels = sizes.info.channels * sizes.info.height * sizes.info.width
    return float((sizes.num_private + sizes.num_auxiliary + sizes.num_test) ** 2 * pixels)


def train(recipe: Recipe, sizes: Sizes, num_images: int) -> float:
    """Attack steps stop at the input, training steps do not; the difference is within the roughness."""
    regime = cast(Regime, recipe.regime)
    passes = regime.passes_per_image * num_images + regime.further_passes
    return passes * _BACKWARD_TO_WEIGHTS * forward(recipe.architecture, sizes)


def declare_members(sizes: Sizes) -> float:
    """Operations of the search for near-duplicates among training and test images: an upper bound."""
    return pools(sizes)


def import_model(recipe: Recipe | ExternalModel, sizes: Sizes) -> float:
    """Operations of the clean check: the test images under six normalisations, an upper bound."""
    return 6 * sizes.num_test * forward(recipe.architecture, sizes)


def predict(recipe: Recipe | ExternalModel, sizes: Sizes) -> float:
    return (sizes.num_private + sizes.num_test) * forward(recipe.architecture, sizes)


def probe(recipe: Recipe | ExternalModel, sizes: Sizes) -> float:
    """Two forward passes, of which one with its gradient."""
    return min(sizes.num_test, MOST_PROBED) * (1 + _BACKWARD_TO_INPUT) * forward(recipe.architecture, sizes)


def query(recipe: Recipe | ExternalModel, sizes: Sizes, passes: float) -> float:
    """passes: forward passes an image."""
    return (sizes.num_private + min(sizes.num_auxiliary, MOST_AUXILIARY)) * passes * forward(recipe.architecture, sizes)


def embed_auxiliary(recipe: Recipe, sizes: Sizes) -> float:
    return min(sizes.num_auxiliary, MOST_AUXILIARY) * forward(recipe.architecture, sizes)


def embed(recipe: Recipe, sizes: Sizes) -> float:
    return (sizes.num_private + sizes.num_auxiliary) * forward(recipe.architecture, sizes)


def evade(recipe: Recipe | ExternalModel, attack: Evasion, num_images: int, sizes: Sizes) -> float:
    """An upper bound: fooled images leave the batch."""
    passes = attack.passes * _BACKWARD_TO_INPUT - attack.forward_only * (_BACKWARD_TO_INPUT - 1)
    return num_images * passes * forward(recipe.architecture, sizes)


def robustness_curve(recipe: Recipe | ExternalModel, passes: float, num_images: int, sizes: Sizes) -> float:
    """passes: with gradients, an image, over all norms; the search between images costs forward passes on top."""
    return num_images * passes * _BACKWARD_TO_INPUT * forward(recipe.architecture, sizes)


def corrupt(recipe: Recipe | ExternalModel, versions: int, num_images: int, sizes: Sizes) -> float:
    return num_images * versions * forward(recipe.architecture, sizes)


def invert(recipe: Recipe | ExternalModel, attack: Inversion, sizes: Sizes) -> float:
    num_images = attack.samples_per_class * sizes.info.num_classes
    one = forward(recipe.architecture, sizes)
    if attack.learned_prior is not None:
        one += attack.learned_prior.operations(_shape(sizes), sizes.info.num_classes)[1]
    return num_images * attack.passes * _BACKWARD_TO_INPUT * one


def fit_prior(prior: Prior, sizes: Sizes) -> float:
    return prior.operations(_shape(sizes), sizes.info.num_classes)[0]


def leakage(sizes: Sizes) -> float:
    """A small constant for bootstraps and pictures, about a second of one core."""
    return 2e10


def _shape(sizes: Sizes) -> tuple[int, int, int]:
    return sizes.info.channels, sizes.info.height, sizes.info.width


def forward(architecture: Spec, sizes: Sizes) -> float:
    """Operations of one image's forward pass."""
    if isinstance(architecture, Memoriser):
        pixels = sizes.info.channels * sizes.info.height * sizes.info.width
        return 2.0 * sizes.num_members * pixels
    return _forward(cast(Architecture, architecture), sizes.info)


@functools.cache
def _forward(architecture: Architecture, info: InputInfo) -> float:
    """See `operations_counted`."""
    try:
        with torch.device("meta"):
            model = architecture.network(info).eval()
        # Computing on the meta device loads two seconds' worth of torch: only for what may not fit in memory.
        small = sum(weight.numel() for weight in model.parameters()) < _SMALL
        if all(weight.is_meta for weight in model.parameters()):  # others are there, with tables that they look up
            model = model.to_empty(device="cpu" if small else "meta")
        with torch.no_grad(), operations_counted(model) as counted:
            model(torch.empty(1, info.channels, info.height, info.width, device=model.mean.device))
    except SpecError:  # says what is wrong by itself
        raise
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:  # sizes that no tensor can have
        image = f"{info.channels} x {info.height} x {info.width}"
        reason = str(error).partition("\n")[0]
        raise ValueError(f"architecture {architecture!r} takes no images of {image} pixels: {reason}") from error
    return counted.total
