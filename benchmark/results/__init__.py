"""A results folder: what lies in it, how it is written, found, checked, gathered and verified."""
