"""The steps of the benchmark, one file each: a stage reads its parents' output and returns rows and artifacts."""
