"""Inversion attacks: images from a model alone. One file an attack."""
