"""Members and non-members: who is in a model's training data, and who is not."""
