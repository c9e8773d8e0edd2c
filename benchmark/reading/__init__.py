"""Checked reading of files that others wrote: text, JSON, Parquet, and whether their values are plausible."""
