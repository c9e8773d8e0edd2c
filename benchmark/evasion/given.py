"""Adversarial images that somebody hands in: nothing is attacked, every image is judged as any attack's is."""

from typing import Annotated, Any, Self

import torch
from pydantic import BeforeValidator, Field, PrivateAttr, StringConstraints, model_validator
from torch import Tensor, nn

from benchmark.evasion.attack import Perturbed, cross_entropies
from benchmark.evasion.pooled import PooledEvasion, pool_logits
from benchmark.reading.text import shown
from benchmark.spec import SpecError

_Path = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


def _one_a_replica(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


OfReplicas = Annotated[list[_Path | None], Field(min_length=1), BeforeValidator(_one_a_replica)]


class Given(PooledEvasion):
    """Images that were made with whatever means, for one trained network each.

    norm, epsilon: the ball that they keep to. files: model -> its file, which is for replica 0, or a list of files, one
    a replica in their order, null where there is none. Each is relative to the suite file, or absolute, and holds
    `test_ids` and `images`; see `benchmark.stages.shared.handed_in`. name: of the attack or of who made them, for the
    label. sha256: of one file's content: a plan puts it in place of files and name, since nothing else counts.
    An image that is in no file stays as it is.
    """

    KIND = "given"
    SOURCE = "whoever hands them in"
    TOLD_IF_SET = ("name",)
    files: dict[str, OfReplicas] = {}
    name: str = Field(default="", max_length=60)
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    _moved: Tensor | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _files_or_content(self) -> Self:
        if self.files and self.sha256:
            raise SpecError(f"{shown(self.sha256)} is for trials; allowed: files alone", ("sha256",))
        if not self.files and not self.sha256:
            raise SpecError("nothing is given; allowed: {MODEL: FILE, ...}", ("files",))
        return self

    def of_content(self, sha256: str) -> "Given":
        """What a trial is of: this ball, and the content of one file."""
        return Given(norm=self.norm, epsilon=self.epsilon, sha256=sha256)

    def with_images(self, moved: Tensor) -> "Given":
        """The attack that returns `moved`, (N, C, H, W) float32, for N images in their order."""
        made = self.model_copy()
        made._moved = moved
        return made

    def perturb_pool(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator, batch_size: int
    ) -> Perturbed:
        """loss: of the clean images alone, (1,)."""
        if self._moved is None:
            raise SpecError("evasion 'given' makes no images; allowed: in a suite, with files")
        logits = pool_logits(model, images, batch_size)
        right = (logits.argmax(1) == labels).view(-1, 1, 1, 1)
        loss = cross_entropies(logits, labels).mean().view(1).cpu()
        return Perturbed(torch.where(right, self._moved.to(images.device), images), loss)
