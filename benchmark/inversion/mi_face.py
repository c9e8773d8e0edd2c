"""MI-Face: the first gradient inversion of a classifier."""

from typing import Literal, Self, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from benchmark.inversion.descent import Descent, total_variation
from benchmark.inversion.multiscale import blurred
from benchmark.machine.copies import rows_where
from benchmark.search_space import Choice, LogUniform, Space, around
from benchmark.spec import Fraction


class MIFace(Descent):
    """Plain gradient descent on 1 - f_label(x), with the two stop rules of Algorithm 1, a sample at a time.

    A sample stops, and leaves its batch, when its cost is no lower than the largest of its last `beta` costs (which
    needs `beta` of them), or when it is `gamma` or lower, or after `steps` steps (the paper's alpha). Its best image
    is returned. gamma is a cost, so it is small: 0.01 is a confidence of 0.99.
    learning_rate: lambda. beta, in steps: None is half of `steps`; the paper's 100, of 5,000, is more than some suites
    spend at all.
    process: `denoise` applies a Gaussian of `denoise_sigma` pixels after each step; the paper denoises and sharpens
    images for one of its three networks. total_variation: the paper's AUXTERM.
    objective: `logit` descends on minus the logit instead, which has no gamma; for the memoriser.
    The paper starts at zeros, from which all samples of a class are one image; here the start is noise near it.

    Weak by nature on deep networks: where f_label is near 0, which is nearly everywhere, so is its gradient, and
    the descent has neither momentum nor a normalised step. Its home is softmax regression.
    """

    SOURCE = "Fredrikson, Jha and Ristenpart 2015, Model Inversion Attacks that Exploit Confidence Information, Alg. 1"
    objective: Literal["confidence", "logit"] = "confidence"
    learning_rate: Fraction = Field(default=10.0, gt=0, le=1e9)
    beta: int | None = Field(default=None, ge=1, le=10_000_000)
    gamma: Fraction = Field(default=0.01, ge=0, le=1)
    process: Literal["identity", "denoise"] = "identity"
    denoise_sigma: Fraction = Field(default=0.5, gt=0, le=10_000)
    start_mean: Fraction = Field(default=0.0, ge=0, le=1)
    start_std: Fraction = Field(default=0.3, gt=0, le=100)

    @property
    def search_space(self) -> Space:
        return {
            "learning_rate": around(self.learning_rate, 100.0),
            "gamma": LogUniform(0.0001, 0.1),
            "process": Choice(("identity", "denoise")),
            **self.start_space,
        }

    def for_memoriser(self) -> Self:
        # Its logit's gradient is the way to a weighted mean of members, so half of the way is a safe step.
        changed = {"objective": "logit", "learning_rate": 0.5, "process": "identity", "total_variation": 0.0}
        return self.model_copy(update=changed)

    def descend(self, model: nn.Module, start: Tensor, targets: Tensor) -> Tensor:
        x = start
        best, best_cost = x.clone(), torch.full((len(x),), torch.inf, device=x.device)
        beta = self.beta or max(1, self.steps // 2)
        # inf: a rule that asks for the last beta costs waits until there are as many.
        last = torch.full((len(x), beta), torch.inf, device=x.device)
        active = torch.arange(len(x), device=x.device)
        for step in range(self.steps + 1):
            with torch.set_grad_enabled(step < self.steps):
                x = x.detach().requires_grad_(step < self.steps)
                costs = self._costs(model, x, targets[active])
            now = costs.detach()
            goes_on = now < last.amax(1)
            if self.objective == "confidence":
                goes_on &= now > self.gamma
            # The one stall of a step: who leaves must be known.
            better, going, no_number = rows_where(now < best_cost[active], goes_on, ~now.isfinite())
            if len(no_number):  # no cost is lower than NaN: the sample would stop as if it were done
                raise FloatingPointError("mi_face: the cost is NaN or infinite; does the network give numbers?")
            best[active[better]], best_cost[active[better]] = x.detach()[better], now[better]
            if step == self.steps or not len(going):
                break
            (gradient,) = torch.autograd.grad(costs.sum(), x)
            last[:, step % beta] = now
            x = self.after_step(x.detach() - self.learning_rate * gradient, (step + 1) / self.steps).clamp(0, 1)
            if len(going) < len(x):
                x, active, last = x[going], active[going], last[going]
        return best

    def _costs(self, model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
        """(N,)."""
        logits = model(x).float()
        if self.objective == "logit":
            costs = -logits.gather(1, targets[:, None])[:, 0]
        else:  # 1 - f, exact where f is near 1
            costs = -torch.expm1(logits.log_softmax(1).gather(1, targets[:, None])[:, 0])
        if self.total_variation:
            costs = costs + self.total_variation * total_variation(x)
        return cast(Tensor, costs)

    def after_step(self, images: Tensor, part: float) -> Tensor:
        """The paper's PROCESS."""
        return blurred(images, self.denoise_sigma) if self.process == "denoise" else images
