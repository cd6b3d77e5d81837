"""The store: what outlives a process, read and written without torch."""
