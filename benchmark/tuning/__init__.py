"""`bench tune`: search attack settings with an equal budget a model, on models that are not reported."""
