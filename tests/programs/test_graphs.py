"""Rewritten programs give what the functions themselves give; one that does not is not used."""

import pytest
import torch
from torch import Tensor

from bench.programs import graphs
from bench.programs.agreement import agree
from bench.programs.graphs import Traced
from bench.programs.nodes import example
from bench.programs.tracing import record

RUNS, ROWS, ACTIONS, BATCH = 3, 7, 4, 20
aten = torch.ops.aten


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Return normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def index(high: int, seed: int = 1) -> Tensor:
    """Return whole numbers ``[run, batch]``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(high, (RUNS, BATCH), generator=generator)


def rows(table: Tensor, states: Tensor) -> Tensor:
    """Return rows of one run's table, as learners look them up."""
    return table[states]


def entries(table: Tensor, states: Tensor, actions: Tensor) -> Tensor:
    """Return one entry of each row."""
    return table[states].gather(1, actions[:, None])[:, 0]


def td_loss(table: Tensor, states: Tensor, actions: Tensor) -> Tensor:
    """Return what both a lookup of entries and a log-sum-exp of rows go into."""
    conservative = table[states].logsumexp(-1) - entries(table, states, actions)
    return (entries(table, states, actions) ** 2 + conservative).sum()


# What learners do with a table [rows, actions], states [batch] and actions [batch] of one run.
FUNCTIONS = {
    "rows": lambda q, s, a: rows(q, s),
    "entries": entries,
    "largest": lambda q, s, a: rows(q, s).amax(-1),
    "largest kept": lambda q, s, a: rows(q, s) - rows(q, s).amax(-1, keepdim=True),
    "best": lambda q, s, a: rows(q, s).argmax(-1),
    "best of all": lambda q, s, a: q.argmax(-1),
    "sum": lambda q, s, a: rows(q, s).sum(-1),
    "sum over rows": lambda q, s, a: rows(q, s).sum(0),
    "everything": lambda q, s, a: rows(q, s).sum(),
    "sum over pairs": lambda q, s, a: rows(q, s).view(2, 10, 2, 2).sum((0, 2)),
    "sum of a number": lambda q, s, a: rows(q, s) + torch.ones(()).sum(0),
    "softmax": lambda q, s, a: rows(q, s).softmax(-1),
    "log-sum-exp": lambda q, s, a: rows(q, s).logsumexp(-1),
    "value": lambda q, s, a: (rows(q, s).softmax(-1) * rows(q, s)).sum(-1),
    "masked": lambda q, s, a: rows(q, s).masked_fill(rows(q, s) < 0, -torch.inf).amax(-1),
    "two lookups": lambda q, s, a: rows(q, s) * rows(q, s.flip(0)) + rows(q, s),
    "other numbers beside": lambda q, s, a: rows(q, s).exp() + a[:, None],
    "reversed difference": lambda q, s, a: 1 - rows(q, s),
    "product": lambda q, s, a: rows(q, s) @ q.T @ q[:, :2],
    "gradient": lambda q, s, a: torch.func.grad(td_loss)(q, s, a),
    "gradient of a policy": lambda q, s, a: torch.func.grad(
        lambda x: (x[s].softmax(-1) * q[s]).sum() + entries(x, s, a).sum()
    )(q),
    "gradient of the largest": lambda q, s, a: torch.func.grad(lambda x: x[s].amax(-1).sum())(q),
}  # fmt: skip


def traced(function) -> Traced:
    """Return a function of one run as one of all runs, on examples like those of `inputs`."""

    def update(fixed, varying):
        return (torch.func.vmap(function)(*varying),)

    return Traced(update, (), inputs(0))


def inputs(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return tables ``[run, rows, actions]``, states and actions ``[run, batch]``."""
    return drawn(RUNS, ROWS, ACTIONS, seed=seed), index(ROWS, seed), index(ACTIONS, seed + 1)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.filterwarnings("error:A rewritten update")
def test_a_program_gives_what_its_function_gives(name):
    program = traced(FUNCTIONS[name]).program(0)
    for seed in (0, 5):
        expected = torch.func.vmap(FUNCTIONS[name])(*inputs(seed))
        torch.testing.assert_close(program(program.prepare(()), inputs(seed)), expected)


def test_what_has_ties_gives_the_first_of_the_largest():
    program = traced(FUNCTIONS["best"]).program(0)
    table, states, actions = inputs(0)
    for ties in (torch.zeros_like(table), (table > 0).float()):
        found = program(program.prepare(()), (ties, states, actions))
        assert torch.equal(found, torch.func.vmap(FUNCTIONS["best"])(ties, states, actions))


def test_infinite_entries_do_not_make_a_difference():
    table, states, actions = inputs(0)
    table[:, :, 1] = -torch.inf
    for name in ("softmax", "log-sum-exp", "largest", "best"):
        program = traced(FUNCTIONS[name]).program(0)
        found = program(program.prepare(()), (table, states, actions))
        torch.testing.assert_close(found, torch.func.vmap(FUNCTIONS[name])(table, states, actions))


def test_slow_operations_are_gone():
    """Otherwise the tests above would compare a function with itself."""
    slow = {aten.argmax.default, aten.amax.default, aten._softmax.default, torch.argmax,
            torch.amax, torch._softmax, aten.logsumexp.default, torch.logsumexp}  # fmt: skip
    for name in ("largest", "best", "softmax", "log-sum-exp"):
        program = traced(FUNCTIONS[name]).program(0)
        assert not slow & {node.target for node in program.rest.graph.nodes}


def test_a_sum_over_pairs_is_made_axis_by_axis():
    def function(fixed, x):
        return (x.sum((1, 3)),)

    given = drawn(RUNS, 2, BATCH, 2, BATCH)
    program = Traced(function, (), given).program(0)
    called = [node for node in program.rest.graph.nodes if node.op == "call_function"]
    assert [node.args[1] for node in called if node.target is torch.sum] == [[3], [1]]
    torch.testing.assert_close(program([], given), given.sum((1, 3)))


def test_thin_products_are_made_the_other_way_round():
    def function(fixed, varying):
        x, column, along = varying
        return ((x @ column, along @ column.mT, x.mT @ along),)

    given = drawn(RUNS, BATCH, 16), drawn(RUNS, 16, 1), drawn(RUNS, BATCH, 1)
    for dtype, products in ((torch.float32, [(1, 16), (1, BATCH)]), (torch.float64, [])):
        numbers = tuple(x.to(dtype) for x in given)
        program = Traced(function, (), numbers).program(0)
        called = [node for node in program.rest.graph.nodes if node.target is torch.bmm]
        assert [tuple(example(node.args[0]).shape[1:]) for node in called] == (
            products or [(BATCH, 16), (BATCH, 1), (16, BATCH)]
        )
        torch.testing.assert_close(program([], numbers), function((), numbers)[0])


def test_what_changes_nothing_of_a_tensor_is_not_recorded():
    def function(x):
        same = x.view(3, 3).expand(3, 3).detach().to(torch.float32)
        return [[same.mT.exp()]]

    recorded = record(function, drawn(3, 3))
    names = [str(node.target) for node in recorded.graph.nodes if node.op == "call_function"]
    assert names == ["aten.transpose.int", "aten.exp.default"]


def test_what_never_changes_is_computed_ahead():
    def function(fixed, varying):
        return ((fixed.exp().sum() * varying,),)

    program = Traced(function, drawn(5), drawn(2)).program(0)
    (ready,) = program.prepare(drawn(5))
    assert ready.shape == ()
    (found,) = program([ready], drawn(2))
    torch.testing.assert_close(found, drawn(5).exp().sum() * drawn(2))


def test_a_wrong_rewriting_is_not_used(monkeypatch):
    """A rule that is wrong costs time, never a number."""

    def wrong(recorded, examples, rules):
        for node in recorded.graph.nodes:
            if node.target is aten.sub.Tensor:
                node.target = aten.add.Tensor

    function = FUNCTIONS["largest kept"]
    monkeypatch.setattr(graphs, "rewrite", wrong)
    with pytest.warns(UserWarning, match="as written, slower"):
        program = traced(function).program(0)
    found = program(program.prepare(()), inputs(3))
    torch.testing.assert_close(found, torch.func.vmap(function)(*inputs(3)))


def test_programs_are_compared_away_from_zeros_and_ties():
    """On tables of zeros every entry is the largest, and any rule would pass."""

    def update(fixed, varying):
        table, states = varying
        best = table.argmax(-1)
        return (table - 0.1 * (drawn(ACTIONS) - best[:, None])[states],), (best,)

    program = Traced(update, (), (torch.zeros(ROWS, ACTIONS), torch.arange(ROWS)))
    assert program.tensors[0].unique().numel() == 1
    program.let_examples_move(0, 2)
    assert program.tensors[0].unique().numel() >= ACTIONS
    assert torch.equal(program.tensors[1], torch.arange(ROWS))


def test_what_is_lost_is_not_compared_and_what_is_not_is():
    lost = torch.tensor([1.0, torch.nan, torch.inf, 1e30])
    assert agree(lambda x: [x], lambda x: [torch.tensor([1.0, 2.0, 3.0, 4.0])], [lost])
    assert not agree(lambda x: [x], lambda x: [x * torch.tensor([1.1, 1, 1, 1])], [lost])
    assert not agree(lambda x: [x], lambda x: [x * torch.nan], [torch.ones(2)])
    assert not agree(lambda x: [x], lambda x: [x.double()], [torch.ones(2)])


def test_a_reshape_holds_for_inputs_that_are_laid_out_unlike_the_examples():
    """Parameters that come out of an optimiser are parts of a longer row."""

    def function(fixed: Tensor, x: Tensor) -> tuple[Tensor]:
        return (torch.cat([2 * x.view(-1).view(3, 4), fixed], 1)[:, :4],)

    x = torch.arange(12.0).view(3, 4)
    traced = Traced(function, torch.zeros(3, 6), x)
    traced.let_examples_move(0, 3)
    assert torch.equal(traced.tensors[1], 8 * x)
    assert not traced.tensors[1].is_contiguous()


def test_a_tensor_from_outside_is_a_constant_and_parts_of_a_result_are_told_apart():
    outside = drawn(ACTIONS)

    def function(fixed, varying):
        low, high = varying[0].split([1, ACTIONS - 1])
        return (high * outside[1:] + low,), (low,)

    traced = Traced(function, (), (drawn(ACTIONS, seed=1),))
    given = drawn(ACTIONS, seed=2)
    for output, expected in enumerate(function((), (given,))):
        program = traced.program(output)
        assert torch.equal(program(program.prepare(()), (given,))[0], expected[0])


def changes_a_copy(x):
    (total := x + 1).mul_(2)
    return total


def changes_what_was_used(x):
    total = x + 1
    kept = total.exp()
    return kept + total.mul_(2)


def changes_what_a_view_shows(x):
    total = x + 1
    view = total.view(-1)
    total.mul_(2)
    return view


def changes_what_a_view_of_all_of_it_shows(x):
    total = x + 1
    view = total.view_as(total)
    view.mul_(2)
    return total


def changes_what_is_used_again(x):
    total = x + 1
    changed = total.mul_(2)
    return changed + total


def widens(x):
    total = (x > 0).float()
    return total.mul_(x.double())


@pytest.mark.parametrize(
    ("function", "rewritten"),
    [
        (changes_a_copy, True),
        (changes_what_was_used, True),
        (torch.func.grad(lambda x: x.clamp(-0.5, 0.5).exp().sum()), True),
        (lambda x: x.exp().view(1, -1).squeeze_(0), True),
        (changes_what_a_view_shows, False),
        (changes_what_a_view_of_all_of_it_shows, False),
        (changes_what_is_used_again, True),
        (widens, False),
    ],
)
def test_a_change_in_place_gives_a_new_tensor_where_nobody_sees_the_difference(function, rewritten):
    program = Traced(lambda fixed, varying: ([function(*varying)],), (), (drawn(9),)).program(0)
    assert (program.ahead is not None) == rewritten
    given = drawn(9, seed=2)
    (found,) = program(program.prepare(()), (given.clone(),))
    torch.testing.assert_close(found, function(given))


def test_what_refuses_its_arguments_stays_though_nobody_asks_for_it():
    def function(fixed: Tensor, varying: Tensor) -> tuple[Tensor, Tensor]:
        return torch.linalg.inv(varying), fixed + 1

    traced = Traced(lambda fixed, varying: function(fixed, varying), torch.ones(2), torch.eye(2))
    program = traced.program(1)
    assert torch.equal(program(program.prepare(torch.ones(2)), torch.eye(2)), 2 * torch.ones(2))
    with pytest.raises(torch.linalg.LinAlgError):
        program(program.prepare(torch.ones(2)), torch.zeros(2, 2))


def test_as_recorded_nothing_is_rewritten():
    values, seen = drawn(RUNS, BATCH, ACTIONS), torch.ones(1)
    traced = Traced(lambda _, x: (x.softmax(-1), x.argmax(-1)), seen, values)
    asked = {"aten._softmax.default": values.softmax(-1), "aten.argmax.default": values.argmax(-1)}
    for output, expected in enumerate(asked.values()):
        program = traced.as_recorded(output)
        assert torch.equal(program([seen], values), expected)
        names = {str(node.target) for node in program.rest.graph.nodes}
        assert names & set(asked) == {list(asked)[output]}
