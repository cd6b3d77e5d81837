"""Lookups of rows in a table: rewritten so that rows are taken late, and fast.

What is done row by row to rows of a table is done to the table itself, if that has fewer rows than
are looked up: ``f(table[index])`` is ``f(table)[index]``. A table of 30 states holds half of what a
minibatch of 64 looks up, and mostly a single number of each row is wanted in the end.
"""

from typing import Any

import torch
from torch import fx

from bench.programs.nodes import Builder, args_of, example, shape, tensors_of

aten = torch.ops.aten
ROW_BY_ROW = (
    aten.amax.default, aten.argmax.default, aten.logsumexp.default, aten._softmax.default,
    aten.unsqueeze.default,
)  # fmt: skip
ELEMENTWISE = (
    aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor, aten.exp.default,
    aten.ge.Tensor, aten.ge.Scalar, aten.gt.Tensor, aten.lt.Tensor, aten.bitwise_not.default,
    aten.logical_not.default, aten.masked_fill.Scalar, aten.neg.default,
    aten.pow.Tensor_Scalar, aten.mul.Scalar, aten.div.Scalar,
)  # fmt: skip


def sink(build: Builder, node: fx.Node) -> fx.Node | None:
    """Return an operation on looked-up rows rewritten, None if it is none."""
    if not node.users:
        return None
    if node.target is aten.gather.default:
        return _lookup(build, node) or _entry(build, node)
    if node.target is aten.scatter_add.default:
        return _scatter(build, node)
    if node.target not in ROW_BY_ROW + ELEMENTWISE:
        return None
    given = [x for x in tensors_of(node) if "lookup" in x.meta]
    if not given:
        return None
    _, index = given[0].meta["lookup"]
    rows = shape(given[0].meta["lookup"][0])[1]
    if rows > shape(index)[1] or not all(_fits(x, index, node) for x in tensors_of(node)):
        return None

    def on_table(argument: Any) -> Any:
        if isinstance(argument, fx.Node) and "lookup" in argument.meta:
            return argument.meta["lookup"][0]
        return argument

    table = build(node.target, *map(on_table, args_of(node)), **node.kwargs)
    return _taken(build, table, index)


def _fits(x: fx.Node, index: fx.Node, node: fx.Node) -> bool:
    """Return whether an input is of the same rows, or the same for all of them."""
    if "lookup" in x.meta:
        return x.meta["lookup"][1] is index and _last_axis_only(node)
    return node.target in ELEMENTWISE and (
        example(x).dim() == 0 or (example(x).dim() >= 2 and shape(x)[1] == 1)
    )


def _last_axis_only(node: fx.Node) -> bool:
    """Return whether an operation leaves runs and rows apart."""
    if node.target in ELEMENTWISE:
        return len({example(x).dim() for x in tensors_of(node)} - {0}) == 1
    axes = args_of(node)[1] if isinstance(args_of(node)[1], list | tuple) else [args_of(node)[1]]
    dim = example(args_of(node)[0]).dim()
    offset = dim + 1 if node.target is aten.unsqueeze.default else dim
    return all(axis is not None and axis % offset >= 2 for axis in axes)


def _lookup(build: Builder, node: fx.Node) -> fx.Node | None:
    """Return rows ``[run, n, width]`` of tables ``[run, rows, width]``, by their numbers."""
    table, axis, index = args_of(node)[:3]
    if axis != 1 or not isinstance(index, fx.Node) or index.target is not aten.expand.default:
        return None
    numbers = args_of(index)[0]
    if example(table).dim() != 3 or shape(numbers)[-1] != 1 or shape(index)[-1] != shape(table)[-1]:
        return None
    return _taken(build, table, _numbers(build, numbers))


def _numbers(build: Builder, column: fx.Node) -> fx.Node:
    """Return ``[run, n]`` of ``[run, n, 1]``, the same node for the same numbers."""
    if "numbers" not in column.meta:
        source = args_of(column)[0]
        same = isinstance(source, fx.Node) and shape(source) == shape(column)[:-1]
        column.meta["numbers"] = source if same else build(aten.squeeze.dim, column, -1)
    found: fx.Node = column.meta["numbers"]
    return found


def _taken(build: Builder, table: fx.Node, index: fx.Node) -> fx.Node:
    """Return ``table[run, index[run]]`` of ``[run, rows, ...]`` and ``[run, n]``."""
    runs, rows, *width = shape(table)
    if width in ([], [1]):
        numbers = build(aten.reshape.default, table, [runs, rows])
        found = build(aten.gather.default, numbers, 1, index)
        new = build(aten.reshape.default, found, [runs, shape(index)[1], *width])
    else:
        first = build(
            aten.arange.start_step, 0, runs * rows, rows, dtype=torch.int64, device=_device(index)
        )
        at = build(aten.add.Tensor, index, build(aten.unsqueeze.default, first, 1))
        flat = build(aten.reshape.default, table, [runs * rows, *width])
        found = build(aten.index_select.default, flat, 0, build(aten.reshape.default, at, [-1]))
        new = build(aten.reshape.default, found, [runs, shape(index)[1], *width])
    new.meta["lookup"] = (table, index)
    return new


def _entry(build: Builder, node: fx.Node) -> fx.Node | None:
    """Return one entry ``[run, n, 1]`` of each row that is looked up."""
    rows, axis, entry = args_of(node)[:3]
    if "lookup" not in rows.meta or axis % 3 != 2 or shape(entry)[-1] != 1:
        return None
    table, index = rows.meta["lookup"]
    runs, count, width = shape(table)
    flat = build(aten.reshape.default, table, [runs, count * width])
    found = build(aten.gather.default, flat, 1, _flat_index(build, index, entry, width))
    return build(aten.unsqueeze.default, found, 2)


def _flat_index(build: Builder, index: fx.Node, entry: Any, width: int) -> fx.Node:
    first = build(aten.mul.Tensor, index, width)
    return build(aten.add.Tensor, first, build(aten.squeeze.dim, entry, -1))


def _scatter(build: Builder, node: fx.Node) -> fx.Node | None:
    """Add what belongs to one entry of each row to the table itself, not to zeros of all rows."""
    zeros, axis, index, rows = args_of(node)
    if axis != 1 or not isinstance(index, fx.Node) or index.target is not aten.expand.default:
        return None
    if example(zeros).dim() != 3 or shape(args_of(index)[0])[-1] != 1:
        return None
    numbers = _numbers(build, args_of(index)[0])
    terms = _terms(rows)
    single = [term for term in terms if _is_single(term)]
    multiples = {term: found for term in terms if (found := _multiple(build, term, numbers))}
    if not single and not multiples:
        return None
    runs, count, width = shape(zeros)
    into = zeros
    others = [term for term in terms if term not in single and term not in multiples]
    if others:
        into = build(aten.scatter_add.default, zeros, 1, index, _total(build, others))
    for table, weight in multiples.values():
        into = build(aten.add.Tensor, into, _weighed(build, table, weight, numbers))
    flat = build(aten.reshape.default, into, [runs, count * width])
    for entry in dict.fromkeys(args_of(term)[2] for term in single):
        parts = [args_of(term)[3] for term in single if args_of(term)[2] is entry]
        source = build(aten.squeeze.dim, _total(build, parts), -1)
        at = _flat_index(build, numbers, entry, width)
        flat = build(aten.scatter_add.default, flat, 1, at, source)
    return build(aten.reshape.default, flat, [runs, count, width])


def _multiple(build: Builder, term: fx.Node, numbers: fx.Node) -> tuple[fx.Node, fx.Node] | None:
    """Return the table and the weights ``[run, n, 1]`` of weighed rows of the table itself."""
    if term.target is not aten.mul.Tensor or len(tensors_of(term)) < 2:
        return None
    for rows, weight in (args_of(term), args_of(term)[::-1]):
        table, index = rows.meta.get("lookup", (None, None))
        column = _column(build, weight)
        if index is numbers and column is not None and shape(column) == [*shape(numbers), 1]:
            return table, column
    return None


def _column(build: Builder, node: fx.Node) -> fx.Node | None:
    """Return the single column of which all of a node's are copies; None if they are none."""
    if shape(node)[-1] == 1:
        return node
    if node.target is aten.expand.default:
        return args_of(node)[0] if shape(args_of(node)[0])[-1] == 1 else None
    if node.target in (aten.mul.Tensor, aten.div.Tensor) and len(tensors_of(node)) == 1:
        narrow = _column(build, args_of(node)[0])
        return None if narrow is None else build(node.target, narrow, args_of(node)[1])
    return None


def _weighed(build: Builder, table: fx.Node, weight: fx.Node, numbers: fx.Node) -> fx.Node:
    """Return a table times the sum of the weights with which each of its rows is looked up."""
    zeros = build(
        aten.full.default, shape(table)[:2], 0,
        dtype=example(weight).dtype, device=_device(numbers),
    )  # fmt: skip
    total = build(aten.scatter_add.default, zeros, 1, numbers, build(aten.squeeze.dim, weight, -1))
    return build(aten.mul.Tensor, table, build(aten.unsqueeze.default, total, -1))


def _terms(node: fx.Node) -> list[fx.Node]:
    """Return what a node is the sum of."""
    inputs = tensors_of(node)
    plain = node.target is aten.add.Tensor and len(inputs) == 2 and not node.kwargs
    if plain and shape(inputs[0]) == shape(inputs[1]):
        return [term for x in inputs for term in _terms(x)]
    return [node]


def _total(build: Builder, terms: list[Any]) -> fx.Node:
    total = terms[0]
    for term in terms[1:]:
        total = build(aten.add.Tensor, total, term)
    return total


def _is_single(node: fx.Node) -> bool:
    if node.target is not aten.scatter_add.default:
        return False
    zeros, axis, entry, _ = args_of(node)
    fills = isinstance(zeros, fx.Node) and zeros.target is aten.full.default and zeros.args[1] == 0
    return bool(fills and axis == 2 and example(node).dim() == 3 and shape(entry)[-1] == 1)


def _device(node: fx.Node) -> Any:
    """Return where a node's tensor is, by whatever it was made from."""
    while "device" not in node.meta:
        node = node.all_input_nodes[0]
    return node.meta["device"]
