"""What captions say of how policies were evaluated."""

from dataclasses import replace

from plots.data.frame import build_frame
from plots.look import captions
from tests.support.plotting import SMALL, sweep


def test_a_caption_says_whether_values_are_exact_or_of_episodes_and_discounted():
    records = sweep(**SMALL)
    exact = records[0].environment
    last = {**records[0].evaluations[-1], "exact_value": None, "returns": [1.0] * 20}
    rolled_out = [
        replace(
            record,
            run_id=f"{name} {record.run_id}",
            environment=name,
            evaluations=[{**last, "discounted_returns": discounted}],
        )
        for record in records
        if record.environment == exact
        for name, discounted in (("poles", None), ("plane", [0.5] * 20))
    ]
    said = captions._evaluation(build_frame("x", [*records, *rolled_out]))
    assert exact in said.split(";")[0]
    assert "mean return of 20 episodes on poles" in said
    assert "mean discounted return of 20 episodes on plane" in said
