"""Operations that change a tensor in place, made operations that give a new one.

Derivatives hold some (of `clamp`, ``logical_and_``), and a program with a single one of them could
be neither rewritten nor split: what is computed once or ahead of all calls must stay as it is.
"""

from typing import Any

import torch
from torch import fx


def make_new_tensors(graph: fx.Graph) -> None:
    """Replace, in place, those whose change nothing else can see.

    They change the shape alone, or what an operation has just made and nobody makes use of
    afterwards. Tensors of one dtype: with others a new one's may be wider than the changed one's.
    """
    seen: set[fx.Node] = set()
    for node in graph.nodes:
        other = _counterpart(node)
        seen.add(node)
        if other is None:
            continue
        if torch.Tag.inplace_view in node.target.tags or _is_free(node.args[0], seen):
            node.target = other


def _counterpart(node: fx.Node) -> Any:
    """Return the operation that gives a new tensor; None if there is none, or no need of it."""
    if not isinstance(node.target, torch._ops.OpOverload) or not node.target._schema.is_mutable:
        return None
    name = node.target._schema.name.removeprefix("aten::")
    packet = getattr(torch.ops.aten, name.removesuffix("_"), None) if name.endswith("_") else None
    other = getattr(packet, node.target._overloadname, None)
    dtypes = {x.meta.get("dtype") for x in (node, *node.all_input_nodes)}
    return other if len(dtypes) == 1 and None not in dtypes else None


def _is_free(changed: Any, past: set[fx.Node]) -> bool:
    """Return whether a tensor shares no memory and is not used beyond the past."""
    return (
        isinstance(changed, fx.Node)
        and _is_new(changed)
        and all(user in past for user in changed.users)
        and not any(_shares(user, changed) for user in changed.users)
    )


def _is_new(node: fx.Node) -> bool:
    """Return whether an operation gives memory of its own."""
    return isinstance(node.target, torch._ops.OpOverload) and all(
        result.alias_info is None for result in node.target._schema.returns
    )


def _shares(user: fx.Node, changed: fx.Node) -> bool:
    """Return whether what a node gives may be a view of what it was given."""
    mutable = isinstance(user.target, torch._ops.OpOverload) and user.target._schema.is_mutable
    return not _is_new(user) and not (mutable and user.args[0] is changed)
