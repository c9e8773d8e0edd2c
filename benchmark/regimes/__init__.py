"""Training regimes: how a model is trained. One file a regime."""
