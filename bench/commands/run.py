"""`python -m bench [run] KEY=VALUE ...`: one run, or where a value is several, a sweep."""

from bench.sweeps.launch import launch


def main(words: list[str]) -> int:
    """Train what the words ask for and return the exit status."""
    return launch([word for word in words if word not in ("-m", "--multirun")])
