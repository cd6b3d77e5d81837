"""From records to labelled cells."""

from dataclasses import replace

import pytest

from bench.store.labels import degradation_labels, learner_labels, telling, varying
from plots.data.frame import build_frame
from plots.data.records import Condition
from tests.support.plotting import (
    CQL,
    DEGRADATIONS,
    LEARNERS,
    SEVERITIES,
    SMALL,
    make_record,
    sweep,
)


def test_every_degradation_starts_from_the_shared_severity_0(frame):
    shared = Condition("lock", "none", 0.0)
    for degradation in DEGRADATIONS:
        curve = frame.curve("lock", degradation)
        assert curve[0] == shared
        assert [c.severity for c in curve] == list(SEVERITIES)
        assert {c.degradation for c in curve[1:]} == {degradation}
    assert frame.degradations == ("actions", "region", "thin")


def test_the_order_of_the_records_does_not_matter():
    records = sweep(**SMALL)
    assert build_frame("x", records[::-1]) == build_frame("x", records)


def test_settings_that_vary_within_an_environment_split_a_learner():
    records = sweep(learners=(CQL, *LEARNERS[3:5]), seeds=range(2))
    labels = learner_labels(records)
    # The discount differs between environments only and is in no label.
    assert set(labels.values()) == {"cql", "fqi (initial_value=v_max)", "fqi (initial_value=zero)"}
    # Where only one variant was run it has the same name as elsewhere.
    few = [r for r in records if r.environment != "cartpole" or "v_max" not in r.run_id]
    names = {labels[r.run_id] for r in few if r.environment == "cartpole"}
    assert {learner_labels(few)[r.run_id] for r in few if r.environment == "cartpole"} == names


def test_runs_that_differ_outside_the_algorithm_are_not_pooled():
    base = make_record("lock", "thin", 0.5, CQL, 0)
    longer = replace(base, run_id="longer", config={**base.config, "num_updates": 9000})
    other_seed = make_record("lock", "thin", 0.5, CQL, 1)
    labels = learner_labels([base, longer, other_seed])
    assert set(labels.values()) == {"cql (num_updates=2000)", "cql (num_updates=9000)"}
    slab, ball = (
        replace(
            base,
            run_id=shape,
            config={**base.config, "coverage": {"name": "thin", "severity": 0.5, "shape": shape}},
        )
        for shape in ("slab", "ball")
    )
    assert set(degradation_labels([slab, ball]).values()) == {
        "thin (shape=slab)",
        "thin (shape=ball)",
    }


def test_a_degradation_made_of_others_is_labelled_by_their_names():
    def of(name, **settings):
        coverage = {"name": name, "severity": 0.5, **settings}
        config = {**one.config, "coverage": coverage}
        facts = {**one.dataset, "degradation": name}
        return replace(one, run_id=str(coverage), config=config, dataset=facts)

    one = make_record("lock", "thin", 0.5, LEARNERS[0], 0)
    region, actions = ({"name": name, "severity": 1.0} for name in ("region", "actions"))
    records = [
        of("size_matched", of={**region, "shape": "slab"}),
        of("size_matched", of={**region, "shape": "ball"}),
        of("size_matched", of=actions),
        of("composite", steps=[region, actions]),
        of("rewards", kind="zero"),
        of("rewards", kind="random"),
    ]
    assert set(degradation_labels(records).values()) == {
        "size_matched: region (of.shape=slab)",
        "size_matched: region (of.shape=ball)",
        "size_matched: actions",
        "composite: region + actions",
        "rewards (kind=zero)",
        "rewards (kind=random)",
    }


def test_whole_numbers_are_one_setting_whatever_their_type():
    one, same = (make_record("lock", "thin", 0.5, ("cql", {"c": c}), 0) for c in (1, 1.0))
    assert set(learner_labels([one, replace(same, run_id="same")]).values()) == {"cql"}


def test_what_varies_differs_or_lacks_somewhere():
    group = [{"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "c": "1"}, {"a": "1", "b": "1"}]
    assert varying(group) == {"b", "c"}
    assert varying(group[:1]) == varying([]) == set()


def test_parts_of_different_classes_differ_in_what_varies_among_those_of_one_class():
    small = {"rate": "1", "part.target": "a.b.Small", "part.size": "2"}
    large = {"rate": "1", "part.target": "a.b.Large", "part.size": "9", "part.depth": "3"}
    none = {"rate": "1", "part": "None"}
    assert telling([small, large]) == {"part.target"}
    assert telling([small, large, none]) == {"part.target", "part"}
    assert telling([small, large, {**large, "part.depth": "4"}]) == {"part.target", "part.depth"}
    inner = {"p.target": "A", "p.z.target": "X", "p.z.n": "1"}
    assert telling([inner, {"p.target": "C"}, {**inner, "p.target": "B", "p.z.n": "2"}]) == {
        "p.target"
    }
    several = small, large, {**small, "part.size": "3"}, {**large, "rate": "2"}
    assert telling(several) == {"part.target", "part.size", "rate"}


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("algorithms.x.Drawn", "algorithms.x.Best"), ("Drawn", "Best")),
        # Names that are not enough would lay two learners together.
        (("algorithms.x.Drawn", "mine.Drawn"), ("algorithms.x.Drawn", "mine.Drawn")),
    ],
)
def test_a_label_says_the_class_of_a_part(classes, said):
    base = make_record("lock", "thin", 0.5, CQL, 0)
    made = [
        replace(base, run_id=str(i), config=base.config | {"algorithm": {"chooser": part}})
        for i, part in enumerate({"target": name, "size": i} for i, name in enumerate(classes))
    ]
    assert list(learner_labels(made).values()) == [f"cql (chooser={name})" for name in said]
