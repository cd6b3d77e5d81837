"""Operations that change a tensor in place, made operations that give a new one.

Derivatives hold some (of `clamp`, ``logical_and_``), and a program with a single one of them could
be neither rewritten nor split: what is computed once or ahead of all calls must stay as it is.
"""

from typing import Any

import torch
from torch import fx


def make_new_tensors(graph: fx.Graph) -> None:
    """Replace, in place, those that change what nothing else can see.

    That is what an operation has just made, no view, and only they make use of. Tensors of one
    dtype alone: with others a new tensor's may be wider than that of the changed one.
    """
    for node in graph.nodes:
        other = _counterpart(node)
        if other is not None and _is_its_own(node.args[0], node):
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


def _is_its_own(changed: Any, node: fx.Node) -> bool:
    """Return whether a tensor was made for an operation alone."""
    made = isinstance(changed, fx.Node) and isinstance(changed.target, torch._ops.OpOverload)
    return (
        made
        and list(changed.users) == [node]
        and all(result.alias_info is None for result in changed.target._schema.returns)
    )
