"""Readers of the formats in which data sets lie on disk: files, folders, arrays, tables, labels."""
