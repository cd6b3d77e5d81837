"""Dividing runs into parts of equal size."""


def equal_parts(count: int, at_most: int) -> list[int]:
    """Return the sizes of as few consecutive parts as possible, equal up to one."""
    parts = -(-count // max(1, at_most))
    return [count * (i + 1) // parts - count * i // parts for i in range(parts)]
