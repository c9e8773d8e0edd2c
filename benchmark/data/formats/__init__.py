"""How data sets lie on disk: files, folders, arrays, tables, labels; no data set is here."""
