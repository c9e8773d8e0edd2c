"""Runs the trials of a plan that have no result yet: what comes next, where, and beside which other drivers."""
