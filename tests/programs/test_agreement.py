"""When two programs count as the same: rounding, and what an optimiser makes of it."""

import pytest
import torch

from bench.programs.agreement import FEW, agree


@pytest.mark.parametrize(
    ("size", "others", "by", "same"),
    [
        (100, 100, 1e-6, True),
        (100, 1, 1e-2, False),
        (30_000, 3, 1e-2, True),
        (30_000, 4, 1e-2, False),
        (30_000, 30_000, 1e-4, False),
    ],
)
def test_more_than_rounding_may_differ_in_hardly_any_number(size, others, by, same):
    assert FEW == 1e-4
    moved = torch.zeros(size)
    moved[:others] = by
    given = [torch.linspace(-0.01, 0.01, size)]
    assert agree(lambda x: [x], lambda x: [x + moved], given) is same
