"""Evasion attacks: move an image a little so that the classifier errs. One file an attack."""
