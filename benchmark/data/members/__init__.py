"""Who is in a model's training data and who is not."""
