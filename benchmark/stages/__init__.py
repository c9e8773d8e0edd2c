"""The steps of the benchmark. Each reads its parents' artifacts and returns rows and artifacts."""
