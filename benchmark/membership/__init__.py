"""Who was in the training data, inferred from a model's outputs."""
