"""Operations that a GPU is given once and replays: CUDA graphs.

A small operation takes a GPU less time than Python takes to ask for it. Captured in a graph,
hundreds of them are asked for at once.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

# Makes what a function did on a GPU into something that does it again, on the same memory.
Capture = Callable[[Callable[[], None]], Callable[[], Any]]


def cuda_graph(run: Callable[[], None]) -> Callable[[], Any]:
    """Return what replays the operations of a function; it has run before, so nothing is set up."""
    graph = torch.cuda.CUDAGraph()
    # Another thread of this process may ask the GPU for something meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        run()
    return graph.replay


class Replayed:
    """A function of tensors ``(*inputs) -> outputs``, captured; both keep their places in memory.

    It may depend on nothing else that changes, and has to stay on the device.
    """

    def __init__(
        self,
        function: Callable[..., Sequence[Tensor]],
        examples: Sequence[Tensor],
        capture: Capture,
    ):
        """Capture the function; examples tell its inputs' shapes and types.

        Raises:
            RuntimeError: If an operation cannot be captured, one that waits for the GPU say.
        """
        self._inputs = [example.clone() for example in examples]
        self._by_type: dict[torch.dtype, list[int]] = defaultdict(list)
        for index, example in enumerate(examples):
            self._by_type[example.dtype].append(index)
        self._outputs: list[Tensor] = []
        places = {x.untyped_storage().data_ptr() for x in self._inputs}

        def run() -> None:
            # What an input is returned as would change while the next call's inputs are put there.
            self._outputs = [
                x.clone() if x.untyped_storage().data_ptr() in places else x
                for x in function(*self._inputs)
            ]

        self._replay = capture(run)

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """Return the outputs; the next call puts its own in their place."""
        for indices in self._by_type.values():
            # Of one type all are copied by one operation.
            torch._foreach_copy_([self._inputs[i] for i in indices], [inputs[i] for i in indices])
        self._replay()
        return self._outputs
