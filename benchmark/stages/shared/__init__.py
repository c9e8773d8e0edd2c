"""What several stages do alike; no stage is here."""
