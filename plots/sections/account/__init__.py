"""Account: what was asked and run, on which data, every number, and how to read them."""
