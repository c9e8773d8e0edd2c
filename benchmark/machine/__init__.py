"""The process and its machine: devices, memory, home folder, Ctrl-C, and files that survive a crash."""
