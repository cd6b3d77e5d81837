"""Python's search for garbage, put off while much is made that stays."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Among so many objects, those of four thousand records, a search takes up to a tenth of a second,
# and the figures of a report, circles of references, cause ten.
MANY = 100_000


@contextmanager
def all_of_it_stays() -> Iterator[None]:
    """Look for no garbage: of ten thousand runs it would take a sixth of the time and find none.

    Nor is what was made searched later, if it is much.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            if gc.get_count()[0] > MANY:
                gc.freeze()
            gc.enable()
