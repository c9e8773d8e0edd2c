"""Membership attacks: who was in the training data, inferred from a model's outputs. One file an attack."""
