"""Derives published numbers again from raw output, in code that shares nothing with what made them.

numpy, scipy and scikit-learn alone: nothing is imported that measures or joins (a contract of the linter).
"""
