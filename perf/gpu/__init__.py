"""What a GPU does with this project: is it right there, and how fast. `make gpu` runs it unattended."""
