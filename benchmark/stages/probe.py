"""Stage `probe`: does a model answer as attacks must be able to rely on, or does it mask its gradients?"""

import torch
from pydantic import Field
from torch import Tensor, nn

from benchmark.evasion.attack import frozen
from benchmark.regimes.regime import to_float
from benchmark.stages.predict import accuracy
from benchmark.stages.shared.inputs import load_target, sampled_test_ids
from benchmark.stages.shared.outputs import finite
from benchmark.trials.trial import Context, Outcome, Row, Stage

MOST_PROBED = 200
"""Test images that are looked at, by default."""
_UNLIKE = 1e-4
"""Relative to an image's largest logit: more than two passes over one batch differ by rounding, on any device."""
_SUM = 1e-3
"""What a row of probabilities in half precision misses 1 by."""
_OUTCOMES = ("randomised_outputs", "probability_outputs", "zero_gradients")


class Probe(Stage):
    """Inputs: pools, target. Passes the same random test images through every model, twice.

    Writes for each image, (N,) bool: `randomised_outputs`: its logits differ between the passes.
    `probability_outputs`: they are not below 0 and sum to 1, so that losses see a softmax of a softmax; logarithms of
    probabilities are as good as logits. `zero_gradients`: the gradient of its largest logit minus the second is 0 in
    every pixel. That is the model's own doing: of a cross-entropy it may be underflow in the softmax alone.
    """

    num_images: int = Field(default=MOST_PROBED, ge=1, le=1_000_000_000)
    batch_size: int = Field(default=100, ge=1, le=1_000_000)

    def run(self, context: Context) -> Outcome:
        data, pools, model = load_target(context)
        ids = sampled_test_ids(context, pools, self.num_images, "probed test images")
        parts = [
            probed(model, to_float(data.test_images[some].to(context.device))) for some in ids.split(self.batch_size)
        ]
        joined = {name: torch.cat([part[name] for part in parts]).cpu() for name in _OUTCOMES}
        return Outcome(rows=_rows(joined), tensors=joined)

    def rederived(self, context: Context) -> list[Row]:
        """All of them, from the outcome of every image."""
        return _rows(context.own_tensors())


def probed(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The outcomes of one batch, by name. model: in eval mode. images: (N, C, H, W) float.

    Raises FloatingPointError for logits that are NaN or infinite.
    """
    x = images.detach().requires_grad_(True)
    with frozen(model), torch.enable_grad():
        logits = finite(model(x).float())
        gradient = _of_margin(logits, x)
    with torch.no_grad():
        again = finite(model(images).float())
    logits = logits.detach()
    apart, scale = (logits - again).abs().amax(1), logits.abs().amax(1)
    sums = (logits.sum(1) - 1).abs() <= _SUM
    return {
        "randomised_outputs": apart > _UNLIKE * scale,
        "probability_outputs": (logits >= 0).all(1) & sums,
        "zero_gradients": (gradient == 0).flatten(1).all(1),
    }


def _of_margin(logits: Tensor, x: Tensor) -> Tensor:
    """Gradient (N, C, H, W) of each image's largest logit minus the second; 0 where logits do not hang on the image."""
    if not logits.requires_grad:
        return torch.zeros_like(x)
    first, second = logits.topk(2).values.unbind(1)
    (gradient,) = torch.autograd.grad((first - second).sum(), x, allow_unused=True)
    return torch.zeros_like(x) if gradient is None else gradient


def _rows(outcomes: dict[str, Tensor]) -> list[Row]:
    return [accuracy(name, outcomes[name]) for name in _OUTCOMES]
