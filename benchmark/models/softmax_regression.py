"""Softmax regression: the shallow baseline, which memorises the mean of each class."""

from torch import nn

from benchmark.models.classifier import Architecture, Classifier, InputInfo


class SoftmaxRegression(Architecture):
    """One linear layer on pixels. It has no convolution: its features are the normalised pixels."""

    SOURCE = "Mejia et al. 2019, first blog post (shallow models)"

    def network(self, info: InputInfo) -> Classifier:
        size = info.channels * info.height * info.width
        return Classifier(info, nn.Flatten(), nn.Linear(size, info.num_classes))
