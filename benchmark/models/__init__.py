"""Classifiers: images in [0, 1] in, logits out, normalisation inside. One file an architecture."""
