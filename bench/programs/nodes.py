"""What rewriting needs to know of the operations of a traced graph, and how it adds some."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from bench.programs.tracing import Recorded


class Builder:
    """Adds operations to a graph."""

    def __init__(self, graph: fx.Graph):
        """Take the graph, whose insertion point is set."""
        self.graph = graph

    def __call__(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Add an operation; its example is found where all its inputs have one."""
        node = self.graph.call_function(target, args, kwargs)
        if all("example" in x.meta for x in node.all_input_nodes):
            known = fx.node.map_arg((args, kwargs), lambda x: x.meta["example"])
            there = {"device": "meta"} if "device" in kwargs else {}
            node.meta["example"] = target(*known[0], **{**known[1], **there})
        return node


def note_examples(recorded: Recorded, inputs: list[Tensor]) -> None:
    """Run operations once and note what each gives, as a tensor without memory."""
    _Notes(recorded.constants, graph=recorded.graph).run(*inputs)


class _Notes(fx.Interpreter):
    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            n.meta["device"] = result.device
            n.meta["example"] = torch.empty_strided(
                result.shape, result.stride(), dtype=result.dtype, device="meta"
            )
        return result


def example(node: Any) -> Tensor:
    """Return a tensor like what a node gives; None where it gives no tensor."""
    found: Tensor = node.meta.get("example")
    return found


def shape(node: Any) -> list[int]:
    """Return the shape of what a node gives."""
    return list(example(node).shape)


def args_of(node: Any) -> tuple[Any, ...]:
    """Return an operation's positional arguments."""
    found: tuple[Any, ...] = node.args
    return found


def tensors_of(node: fx.Node) -> list[fx.Node]:
    """Return the nodes among an operation's arguments."""
    return [x for x in node.args if isinstance(x, fx.Node)]
