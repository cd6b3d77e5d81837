"""Files: datasets of others and of one's own, how they become columns."""
