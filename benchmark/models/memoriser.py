"""The positive control: a classifier that stores its training set."""

import torch
from pydantic import Field
from torch import Tensor, nn

from benchmark.models.classifier import Architecture, Classifier, InputInfo


class StoredMembers(Classifier):
    """logits_c = logsumexp over members i of class c of -||x - x_i||^2 / (2 sigma^2).

    members: (M, D) pixels in [0, 1]; member_labels: (M,). Features are the pixels.
    """

    members: Tensor
    member_labels: Tensor

    def __init__(self, info: InputInfo, sigma: float) -> None:
        super().__init__(info, nn.Flatten(), nn.Identity())
        self.sigma, self.num_classes = sigma, info.num_classes
        size = info.channels * info.height * info.width
        self.register_buffer("members", torch.empty(0, size, device="cpu"))
        self.register_buffer("member_labels", torch.empty(0, dtype=torch.int64, device="cpu"))

    def memorise(self, images: Tensor, labels: Tensor) -> None:
        """Store (M, C, H, W) float images and their (M,) labels."""
        self.members, self.member_labels = images.flatten(1).contiguous(), labels.clone()

    def features(self, images: Tensor) -> Tensor:
        return images.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.features(images)
        squares = x.square().sum(1, keepdim=True) + self.members.square().sum(1) - 2 * x @ self.members.T
        closeness = -squares / (2 * self.sigma**2)
        logits = [closeness[:, self.member_labels == c].logsumexp(1) for c in range(self.num_classes)]
        return torch.stack(logits, 1)

    def load(self, weights: dict[str, Tensor]) -> None:
        self.members, self.member_labels = weights["members"], weights["member_labels"]


class Memoriser(Architecture):
    """Inverting it must give members back: in_rate near 1."""

    SOURCE = "positive control; a Parzen classifier (Parzen 1962)"
    sigma: float = Field(default=1.0, gt=0, le=10_000)

    def network(self, info: InputInfo) -> Classifier:
        return StoredMembers(info, self.sigma)
