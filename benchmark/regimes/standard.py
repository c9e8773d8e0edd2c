"""Conventional training."""

from benchmark.regimes.regime import SupervisedTraining


class Standard(SupervisedTraining):
    """Empirical risk minimisation on clean images."""

    SOURCE = "conventional training"
