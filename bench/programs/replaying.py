"""Operations that a GPU is given once and replays: CUDA graphs.

A small operation takes a GPU less time than Python takes to ask for it. Captured in a graph,
hundreds of them are asked for at once.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

# Makes what a function does on a GPU into something that does it again, on the same memory.
Capture = Callable[[Callable[[], None]], Callable[[], Any]]


def cuda_graphs() -> Capture:
    """Return what captures functions that have run before, so that nothing is left to be set up.

    Those captured by one share their memory: what one leaves is good until another is replayed.
    """
    pools: list[Any] = []

    def capture(run: Callable[[], None]) -> Callable[[], Any]:
        if not pools:
            pools.append(torch.cuda.graph_pool_handle())
        graph = torch.cuda.CUDAGraph()
        # Another thread of this process may ask the GPU for something meanwhile.
        capturing = torch.cuda.graph(graph, pools[0], capture_error_mode="thread_local")
        try:
            # A capture that fails leaves its own stream behind as the current one.
            with torch.cuda.stream(torch.cuda.current_stream()), capturing:
                run()
        except RuntimeError as error:
            # What cannot be ended any more hides what went wrong in it.
            cause = error.__context__
            raise cause if isinstance(cause, RuntimeError) else error from None
        return graph.replay

    return capture


class Replayed:
    """A function of tensors ``(*inputs) -> outputs``, captured; both keep their places in memory.

    It may depend on nothing else that changes.
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
        # Zeros: no example's numbers may be part of what is captured.
        self._inputs = [torch.zeros_like(example) for example in examples]
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
        if len({x.device for x in (*self._inputs, *self._outputs)}) > 1:
            raise RuntimeError("part of it is computed on another device")

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """Return the outputs; the next call puts its own in their place."""
        for indices in self._by_type.values():
            torch._foreach_copy_([self._inputs[i] for i in indices], [inputs[i] for i in indices])
        self._replay()
        return self._outputs
