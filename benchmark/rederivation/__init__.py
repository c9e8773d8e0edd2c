"""Derives published numbers again from raw output, in code that shares nothing with what made them.

numpy, scipy and scikit-learn do the work. Of this package it takes the store and the plan to read trials, the names of
the metrics, and the data set for nearest images in pixels; nothing that measures or joins (a contract of the linter).
"""
