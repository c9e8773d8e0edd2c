"""Runs on a cluster that `ray up` started: its file, and the driver on its head."""
