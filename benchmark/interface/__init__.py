"""What `import benchmark` gives: functions for notebooks and scripts, on the same code as `bench`."""
