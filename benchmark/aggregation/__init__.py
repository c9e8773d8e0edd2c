"""Sums up the trials of all replicas: values with intervals, and the Parquet tables that the page is made of."""
