"""Tracing: a function of tensors run once, with every operation noted, as a flat graph.

What is seen are operations on whole tensors: `vmap` and `grad` are above and leave nothing but what
they made of the function. ``torch.fx``'s own `make_fx` does the same and knows more of each
tensor, which takes it two to three times as long.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary


@dataclass(frozen=True, eq=False)
class Recorded:
    """Operations as a graph, and the tensors in it that none of them made."""

    graph: fx.Graph
    constants: torch.nn.Module

    def __call__(self, *inputs: Tensor) -> Any:
        """Return the outputs, operation by operation.

        For what is called a few times: writing a graph as Python takes longer than running it.
        """
        return fx.Interpreter(self.constants, graph=self.graph).run(*inputs)

    def module(self) -> fx.GraphModule:
        """Return the same as Python, for what is called at every update."""
        return fx.GraphModule(self.constants, self.graph)


def record(function: Callable[..., list[list[Tensor]]], *inputs: Tensor) -> Recorded:
    """Return a function's operations on some inputs as a graph of the same outputs."""
    recorder = _Recorder()
    for number, given in enumerate(inputs):
        recorder.note(given, recorder.graph.placeholder(f"input_{number}"))
    with recorder:
        outputs = function(*inputs)
    recorder.graph.output(tree_map_only(Tensor, recorder.node_of, outputs))
    return Recorded(recorder.graph, recorder.constants)


class _Recorder(TorchDispatchMode):
    """Notes each operation, and tensors that none of them made as constants."""

    def __init__(self) -> None:
        """Begin with an empty graph."""
        super().__init__()
        self.graph, self.constants = fx.Graph(), torch.nn.Module()
        self.nodes: Any = WeakTensorKeyDictionary()

    def node_of(self, tensor: Tensor) -> fx.Node:
        """Return what gave a tensor."""
        if tensor not in self.nodes:
            name = f"constant_{len(self.constants._buffers)}"
            self.constants.register_buffer(name, tensor)
            self.note(tensor, self.graph.get_attr(name))
        found: fx.Node = self.nodes[tensor]
        return found

    def _nodes(self, given: Any) -> Any:
        """Return an operation's arguments with nodes in place of tensors."""
        if isinstance(given, Tensor):
            return self.node_of(given)
        if isinstance(given, list | tuple):
            return type(given)(map(self._nodes, given))
        if isinstance(given, dict):
            return {key: self._nodes(value) for key, value in given.items()}
        return given

    def note(self, tensor: Tensor, node: fx.Node) -> None:
        """Note what gives a tensor."""
        self.nodes[tensor] = node
        node.meta["dtype"] = tensor.dtype

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do an operation and note it."""
        if any(isinstance(x, torch.Generator) for x in (*args, *(kwargs or {}).values())):
            # What a generator gives once is a constant: a graph cannot hold the generator.
            return func(*args, **(kwargs or {}))
        given, named = self._nodes(args), self._nodes(kwargs or {})
        result = func(*args, **(kwargs or {}))
        if args and not func._schema.is_mutable and _is_the_same(result, args[0]):
            self.note(result, given[0])
            return result
        node = self.graph.call_function(func, given, named)
        if isinstance(result, Tensor):
            self.note(result, node)
        elif isinstance(result, tuple | list):
            for index, part in enumerate(result):
                if isinstance(part, Tensor):
                    self.note(part, self.graph.call_function(operator.getitem, (node, index)))
        return result

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nothing here is ever compiled; a guard against it would be paid at every operation.
        return False


def _is_the_same(result: Any, given: Any) -> bool:
    """Return whether a tensor is another or a view of all of it, laid out as that is.

    Such views, a third of all operations of a learner, need not be made again.
    """
    return (
        isinstance(result, Tensor)
        and isinstance(given, Tensor)
        and result.data_ptr() == given.data_ptr()
        and (result.shape, result.stride(), result.dtype)
        == (given.shape, given.stride(), given.dtype)
    )
