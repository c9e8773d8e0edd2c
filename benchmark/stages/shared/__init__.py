"""Helpers that several stages use."""
