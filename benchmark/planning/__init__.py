"""A suite file becomes a checked plan: which trials there are, what they need, what they will cost."""
