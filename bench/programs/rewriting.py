"""Rewriting traced operations that torch does slowly on a CPU into faster ones of equal result.

Microseconds for 128 runs of 64 transitions and four actions, on one core: rows of a table by a
gather 118, by `index_select` 44; argmax over the actions 262, action by action 90; softmax 1,014
and 165; a product with two columns 62, with its right side stored by columns 35 (8 runs). For
sixteen critics of width 64 and minibatches of 256, a product by a column 378, the other way round
134; its derivatives 549 and 437, now 115 and 62.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from bench.programs import lookups
from bench.programs.nodes import Builder, args_of, example, note_examples, shape, tensors_of
from bench.programs.tracing import Recorded

aten = torch.ops.aten
# An axis up to this long is reduced entry by entry.
SHORT = 8
# A product with up to this many columns is slow unless they are stored as columns.
FEW_COLUMNS = 16
# Changes of shape that keep the order of the numbers, the last one but for repeating some.
RESHAPES = (
    aten.view.default, aten._unsafe_view.default, aten.reshape.default, aten.expand.default,
)  # fmt: skip
SQUEEZES = (
    aten.squeeze.dim, aten.squeeze.dims, aten.squeeze.default, aten.unsqueeze.default,
)  # fmt: skip
CONSTANTS = {
    aten.new_zeros.default: 0, aten.zeros_like.default: 0,
    aten.ones_like.default: 1, aten.new_ones.default: 1,
}  # fmt: skip


def rewrite(recorded: Recorded, examples: list[Tensor], rules: Sequence["Rule"]) -> None:
    """Rewrite recorded operations in place; the examples of its inputs tell shapes."""
    note_examples(recorded, examples)
    graph = recorded.graph
    for rule in rules:
        for node in list(graph.nodes):
            if node.op != "call_function" or not isinstance(example(node), Tensor):
                continue
            with graph.inserting_before(node):
                new = rule(Builder(graph), node)
            if new is not None:
                node.replace_all_uses_with(new)
        graph.eliminate_dead_code()


def _plain(build: Builder, node: fx.Node) -> fx.Node | None:
    """Drop changes of shape that change nothing; make constants of what only looks at a shape."""
    if node.target in RESHAPES or node.target in SQUEEZES:
        source = args_of(node)[0]
        while source.target in RESHAPES[:-1] or source.target in SQUEEZES:
            source = args_of(source)[0]
        if shape(source) == shape(node):
            return source
        if node.target is not aten.expand.default and (
            source is not args_of(node)[0] or node.target in RESHAPES[:2]
        ):
            # No view: a rewritten operation may give the same numbers in other places.
            return build(aten.reshape.default, source, shape(node))
    if node.target in CONSTANTS:
        like, device = example(node), node.meta["device"]
        fill = CONSTANTS[node.target]
        return build(aten.full.default, shape(node), fill, dtype=like.dtype, device=device)
    if node.target is aten.rsub.Scalar and len(args_of(node)) == 2:
        # The other way round it is converted from a number at every call.
        whole = build(
            aten.full.default, [], args_of(node)[1],
            dtype=example(node).dtype, device=node.meta["device"],
        )  # fmt: skip
        return build(aten.sub.Tensor, whole, args_of(node)[0])
    return None


def _short_axis(build: Builder, node: fx.Node) -> fx.Node | None:
    """Reduce a short last axis entry by entry."""
    rule = SHORT_AXIS.get(node.target)
    given = tensors_of(node)
    if rule is None or not given or not 1 < (shape(given[0]) or [0])[-1] <= SHORT:
        return None
    if not example(given[0]).is_floating_point() or node.kwargs.get("dtype") is not None:
        return None
    axes = (
        args_of(node)[1]
        if node.target is not aten._softmax_backward_data.default
        else args_of(node)[2]
    )
    axes = axes if isinstance(axes, list | tuple) else [axes]
    last = example(given[0]).dim() - 1
    if [axis % (last + 1) for axis in axes if axis is not None] != [last]:
        return None
    return build(aten.reshape.default, rule(build, node), shape(node))


def _several_axes(build: Builder, node: fx.Node) -> fx.Node | None:
    """Sum over short axes that are apart one by one, the last first: in place of rows of one."""
    if node.target is not aten.sum.dim_IntList or node.kwargs.get("dtype") is not None:
        return None
    given, axes = args_of(node)[:2]
    if len(axes or ()) < 2:
        return None
    size = shape(given)
    places = sorted((axis % len(size) for axis in axes), reverse=True)
    if places[0] == len(size) - 1 or any(size[axis] > SHORT for axis in places):
        return None
    for axis in places:
        given = build(aten.sum.dim_IntList, given, [axis])
    return build(aten.reshape.default, given, shape(node))


def _columns(build: Builder, x: fx.Node) -> list[fx.Node]:
    last = example(x).dim() - 1
    return [build(aten.select.int, x, last, index) for index in range(shape(x)[-1])]


def _chain(build: Builder, target: Callable[..., Any], x: fx.Node) -> fx.Node:
    first, *others = _columns(build, x)
    for other in others:
        first = build(target, first, other)
    return first


def _below_largest(build: Builder, x: fx.Node) -> tuple[fx.Node, fx.Node]:
    """Return the largest entry, as a finite number, and ``exp(x - largest)``."""
    limit = torch.finfo(example(x).dtype).max
    largest = build(aten.clamp.default, _chain(build, aten.maximum.default, x), -limit, limit)
    apart = build(aten.sub.Tensor, x, build(aten.unsqueeze.default, largest, -1))
    return largest, build(aten.exp.default, apart)


def _amax(build: Builder, node: fx.Node) -> fx.Node:
    return _chain(build, aten.maximum.default, args_of(node)[0])


def _sum(build: Builder, node: fx.Node) -> fx.Node:
    return _chain(build, aten.add.Tensor, args_of(node)[0])


def _argmax(build: Builder, node: fx.Node) -> fx.Node:
    best, *others = _columns(build, args_of(node)[0])
    chosen: fx.Node | None = None
    for index, other in enumerate(others, start=1):
        better = build(aten.mul.Tensor, build(aten.gt.Tensor, other, best), index)
        chosen = better if chosen is None else build(aten.maximum.default, chosen, better)
        best = build(aten.maximum.default, best, other)
    assert chosen is not None
    return chosen


def _logsumexp(build: Builder, node: fx.Node) -> fx.Node:
    largest, powers = _below_largest(build, args_of(node)[0])
    powers.meta["example"] = example(args_of(node)[0])
    total = _chain(build, aten.add.Tensor, powers)
    return build(aten.add.Tensor, build(aten.log.default, total), largest)


def _softmax(build: Builder, node: fx.Node) -> fx.Node:
    _, powers = _below_largest(build, args_of(node)[0])
    powers.meta["example"] = example(args_of(node)[0])
    total = build(aten.unsqueeze.default, _chain(build, aten.add.Tensor, powers), -1)
    return build(aten.div.Tensor, powers, total)


def _softmax_backward(build: Builder, node: fx.Node) -> fx.Node:
    gradient, chances = args_of(node)[:2]
    product = build(aten.mul.Tensor, gradient, chances)
    product.meta["example"] = example(node)
    total = build(aten.unsqueeze.default, _chain(build, aten.add.Tensor, product), -1)
    return build(aten.sub.Tensor, product, build(aten.mul.Tensor, chances, total))


SHORT_AXIS: dict[Any, Callable[[Builder, fx.Node], fx.Node]] = {
    aten.amax.default: _amax,
    aten.sum.dim_IntList: _sum,
    aten.argmax.default: _argmax,
    aten.logsumexp.default: _logsumexp,
    aten._softmax.default: _softmax,
    aten._softmax_backward_data.default: _softmax_backward,
}


def _product(build: Builder, node: fx.Node) -> fx.Node | None:
    """Store the few columns of a product's right side as columns."""
    if node.target is not aten.bmm.default:
        return None
    left, right = args_of(node)
    if not 1 < shape(right)[-1] <= FEW_COLUMNS or shape(left)[1] <= shape(right)[-1]:
        return None
    columns = build(aten.transpose.int, right, 1, 2)
    columns = build(aten.clone.default, columns, memory_format=torch.contiguous_format)
    if example(left).stride(-1) == 1:
        new = build(aten.bmm.default, left, build(aten.transpose.int, columns, 1, 2))
        new.meta["example"] = example(node)
        return new
    product = build(aten.bmm.default, columns, build(aten.transpose.int, left, 1, 2))
    return build(aten.transpose.int, product, 1, 2)


def _sum_of_product(build: Builder, node: fx.Node) -> fx.Node | None:
    """Add a bias to a product in one operation."""
    if node.target is not aten.add.Tensor or len(args_of(node)) < 2 or node.kwargs:
        return None
    product, bias = args_of(node)
    if not isinstance(product, fx.Node) or not isinstance(bias, fx.Node):
        return None
    fits = product.target is aten.bmm.default and len(product.users) == 1
    if not fits or example(bias).dim() != 3 or shape(node) != shape(product):
        return None
    return build(aten.baddbmm.default, bias, *args_of(product))


def _thin_product(build: Builder, node: fx.Node) -> fx.Node | None:
    """Make a product by a column the other way round, and one over an axis of one a plain one.

    Of single precision alone, where both ways came to the same bits at all widths that are
    multiples of four (MKL on an AMD EPYC; 6, 10, 17 and 50 differed): records stay as they are.
    """
    if node.target is not aten.bmm.default or example(node).dtype is not torch.float32:
        return None
    left, right = args_of(node)
    if shape(left)[2] == 1:
        return build(aten.mul.Tensor, left, right)
    if shape(right)[2] != 1 or shape(left)[1] == 1:
        return None
    turned = (build(aten.transpose.int, x, 1, 2) for x in (right, left))
    return build(aten.transpose.int, build(aten.bmm.default, *turned), 1, 2)


Rule = Callable[[Builder, fx.Node], fx.Node | None]
# Inductor makes loops of thin products, which it puts together with what is around them.
BEFORE_COMPILING: tuple[Rule, ...] = (
    _plain, lookups.sink, _several_axes, _short_axis, _product, _sum_of_product, _plain,
)  # fmt: skip
UNCOMPILED: tuple[Rule, ...] = (*BEFORE_COMPILING[:-1], _thin_product, _plain)
