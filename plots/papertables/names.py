"""Which experiments are tables: those whose names say so."""

PREFIX = "table_"


def is_table(experiment: str) -> bool:
    """Return whether an experiment is drawn as a paper's table."""
    return experiment.startswith(PREFIX)
