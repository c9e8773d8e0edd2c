"""What inverted images say about the training data, and the controls that make it believable."""
