"""Files: datasets that others made, D4RL's and Minari's, and how they become columns."""
