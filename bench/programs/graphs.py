"""Traced programs: a function of tensors as a flat list of operations, without those in vain.

What nobody asks for is left out, what is computed twice is computed once, and what depends only on
inputs that never change is computed ahead of all calls.
"""

import copy
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_flatten, tree_unflatten

from bench.programs.agreement import agree
from bench.programs.inplace import make_new_tensors
from bench.programs.native import call_natively
from bench.programs.rewriting import BEFORE_COMPILING, UNCOMPILED, rewrite
from bench.programs.tracing import Recorded, record

aten = torch.ops.aten
# Under no_grad these are their argument.
IDENTITIES = (aten.detach.default, aten.alias.default)
Compiler = Callable[[fx.GraphModule, Sequence[Tensor]], Callable[..., Any]]
UNLIKE = "A rewritten update gives other numbers than it should; it is made as written, slower."


class Traced:
    """A pure function ``(fixed, varying) -> tuple of trees``, traced on examples of its inputs.

    `fixed` and `varying` are trees; what is no tensor in them is part of the function.
    """

    def __init__(self, function: Callable[[Any, Any], tuple[Any, ...]], fixed: Any, varying: Any):
        """Trace the function."""
        leaves, structure = tree_flatten((fixed, varying))
        present = [isinstance(leaf, Tensor) for leaf in leaves]
        self.num_fixed = sum(isinstance(leaf, Tensor) for leaf in tree_flatten(fixed)[0])
        self.structures: list[Any] = []

        def flat(*tensors: Tensor) -> list[list[Tensor]]:
            supply = iter(tensors)
            filled = [next(supply) if p else x for p, x in zip(present, leaves, strict=True)]
            results = [tree_flatten(x) for x in function(*tree_unflatten(filled, structure))]
            self.structures = [structure for _, structure in results]
            return [found for found, _ in results]

        self.tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        with torch.no_grad():
            self.recorded = record(flat, *self.tensors)
        _let_layouts_change(self.recorded.graph)
        make_new_tensors(self.recorded.graph)

    def fed(self, source: "Traced", places: dict[int, int | None]) -> "Traced":
        """Return the function with some of its inputs computed by another.

        `places` tells which of this function's tensors are which of the leaves of the source's
        only output; None for one that nothing depends on. The source's fixed inputs follow this
        one's, and its varying ones this one's.
        """
        mine, others = _inputs(self.recorded), _inputs(source.recorded)
        kept = [index for index in range(len(mine)) if index not in places]
        fixed = [index for index in kept if index < self.num_fixed]
        order = [(self, mine, i) for i in fixed]
        order += [(source, others, i) for i in range(source.num_fixed)]
        order += [(self, mine, i) for i in kept if i >= self.num_fixed]
        order += [(source, others, i) for i in range(source.num_fixed, len(others))]
        graph, copies = fx.Graph(), {}
        for number, (_, nodes, index) in enumerate(order):
            copies[nodes[index]] = graph.placeholder(f"input_{number}")
        outputs: Any = graph.graph_copy(source.recorded.graph, copies)
        (made,) = outputs
        for index, leaf in places.items():
            copies[mine[index]] = made[0 if leaf is None else leaf]
        graph.output(graph.graph_copy(self.recorded.graph, copies))
        found = copy.copy(self)
        found.num_fixed = len(fixed) + source.num_fixed
        found.tensors = [traced.tensors[index] for traced, _, index in order]
        found.recorded = Recorded(graph, self.recorded.constants)
        return found

    def needs(self, outputs: Iterable[int]) -> list[bool]:
        """Return of each tensor in `fixed` and `varying` whether some outputs depend on it."""
        reached = _reached(self.recorded.graph, _wanted(self.recorded, outputs))
        return [node in reached for node in _inputs(self.recorded)]

    def let_examples_move(self, output: int, times: int) -> None:
        """Let an output take the place of the first varying examples, so many times over."""
        plain = _restricted(self.recorded, [output])
        for _ in range(times):
            with torch.no_grad():
                moved = list(plain(*self.tensors))
            self.tensors[self.num_fixed : self.num_fixed + len(moved)] = moved

    def as_recorded(self, output: int) -> "Program":
        """Return what computes one of the outputs by the very operations that were recorded."""
        rest = _restricted(self.recorded, [output]).module()
        return Program(None, rest, self.structures[output])

    def program(self, output: int, compiler: Compiler | None = None) -> "Program":
        """Return what computes one of the outputs; a compiler is given examples of what varies."""
        plain = _restricted(self.recorded, [output])
        ahead, rest = None, plain
        if all(map(_is_pure, plain.graph.nodes)):
            fast = _restricted(self.recorded, [output])
            _share(fast.graph)
            rewrite(fast, self.tensors, UNCOMPILED if compiler is None else BEFORE_COMPILING)
            _share(fast.graph)
            call_natively(fast.graph)
            if agree(plain, fast, self.tensors):
                ahead, rest = _split(fast, self.num_fixed)
            else:
                warnings.warn(UNLIKE, stacklevel=2)
        run: Callable[..., Any] = rest.module()
        if compiler is not None:
            run = compiler(rest.module(), self.tensors[self.num_fixed :])
        return Program(ahead, run, self.structures[output])


class Program:
    """One output of a traced function."""

    def __init__(self, ahead: Recorded | None, rest: Callable[..., Any], structure: Any):
        """Take what is computed ahead of all calls, what at each, and the result's structure."""
        self.ahead, self.rest, self.structure = ahead, rest, structure

    def prepare(self, fixed: Any) -> list[Tensor]:
        """Return what calls need of the inputs that never change."""
        given = _tensors(fixed)
        with torch.no_grad():
            return given if self.ahead is None else list(self.ahead(*given))

    def leaves(self, prepared: list[Tensor], varying: Iterable[Any]) -> list[Any]:
        """Return the output's leaves, of those of the inputs that vary."""
        with torch.no_grad():
            return list(self.rest(*prepared, *[x for x in varying if isinstance(x, Tensor)]))

    def __call__(self, prepared: list[Tensor], varying: Any) -> Any:
        """Return the output."""
        return tree_unflatten(self.leaves(prepared, tree_flatten(varying)[0]), self.structure)


def _inputs(recorded: Recorded) -> list[fx.Node]:
    return [node for node in recorded.graph.nodes if node.op == "placeholder"]


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]


def _let_layouts_change(graph: fx.Graph) -> None:
    """Make reshapes of views, which hold for inputs laid out in memory like the examples alone.

    Parts of a row of parameters, as they come out of an optimiser, are not.
    """
    for node in graph.nodes:
        if node.target in (aten.view.default, aten._unsafe_view.default):
            node.target = aten.reshape.default


def _wanted(recorded: Recorded, outputs: Iterable[int]) -> list[fx.Node]:
    """Return the nodes that some of the outputs are."""
    last: Any = recorded.graph.output_node().args[0]
    return [node for index in outputs for node in last[index]]


def _reached(graph: fx.Graph, wanted: Iterable[fx.Node]) -> set[fx.Node]:
    """Return what some nodes are made of, themselves included, and whatever changes something."""
    found = set(wanted)
    for node in reversed(graph.nodes):
        if node in found or not _is_pure(node):
            found.update(node.all_input_nodes, [node])
    return found


def _restricted(recorded: Recorded, outputs: Iterable[int]) -> Recorded:
    """Return a copy that gives some of the outputs alone, one list of tensors."""
    wanted = _wanted(recorded, outputs)
    reached = _reached(recorded.graph, wanted)
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in recorded.graph.nodes:
        if node in reached or node.op == "placeholder":
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output([copies[node] for node in wanted])
    return Recorded(graph, recorded.constants)


def _is_pure(node: fx.Node) -> bool:
    """Return whether a node gives the same for the same and changes nothing."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return True
    schema = node.target._schema
    # What returns nothing is there to refuse its arguments, a singular matrix say.
    changes = schema.is_mutable or not schema.returns
    return not changes and torch.Tag.nondeterministic_seeded not in node.target.tags


def _share(graph: fx.Graph) -> None:
    """Compute once what is computed twice from the same inputs; drop what does nothing."""
    known: dict[Any, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        if node.target in IDENTITIES:
            node.replace_all_uses_with(node.args[0])
            continue
        key = repr((str(node.target), node.args, node.kwargs))
        if key in known:
            node.replace_all_uses_with(known[key])
        else:
            known[key] = node
    graph.eliminate_dead_code()


def _split(recorded: Recorded, num_fixed: int) -> tuple[Recorded, Recorded]:
    """Return what depends on the first inputs alone, and the rest, which is given its results."""
    nodes = list(recorded.graph.nodes)
    inputs = [node for node in nodes if node.op == "placeholder"]
    fixed = set(inputs[:num_fixed])
    for node in nodes:
        if node.op == "get_attr" or (
            node.op == "call_function" and fixed.issuperset(node.all_input_nodes)
        ):
            fixed.add(node)
    passed = [n for n in nodes if n in fixed and any(user not in fixed for user in n.users)]
    ahead, rest = fx.Graph(), fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in nodes:
        if node in fixed or node in inputs[:num_fixed]:
            copies[node] = ahead.node_copy(node, copies.__getitem__)
    ahead.output([copies[node] for node in passed])
    copies = {node: rest.placeholder(f"fixed_{index}") for index, node in enumerate(passed)}
    for node in nodes:
        if node not in fixed:
            copies[node] = rest.node_copy(node, copies.__getitem__)
    return Recorded(ahead, recorded.constants), Recorded(rest, recorded.constants)
