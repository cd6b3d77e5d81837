"""The gate between a file and the world that it names: whether what is recorded happens there."""
