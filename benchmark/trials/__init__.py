"""What a trial is, what it keeps of itself while it trains, and where and with what it was made."""
