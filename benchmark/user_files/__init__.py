"""Files that users write: YAML, and Python files that `--include` runs."""
