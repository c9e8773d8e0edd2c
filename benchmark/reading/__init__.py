"""What others wrote, read without trust: text, JSON, Parquet, and the values that a run can have written."""
