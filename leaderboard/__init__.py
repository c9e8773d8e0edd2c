"""Makes the page: the Parquet tables of a site become static HTML, CSV and figures."""
