"""Random and broken input for everything that reads what others wrote; see `python -m tests.fuzz --help`.

A surface is a kind of input: `cases` draws inputs as plain values; `check` writes one down, gives it to the package and
lets through what the package may do with it: a result that is right, or a ValueError that the command prints as one
line. All else is a finding.
"""
