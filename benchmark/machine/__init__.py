"""The process and its machine: devices, memory, home, Ctrl-C, and files that survive a crash."""
