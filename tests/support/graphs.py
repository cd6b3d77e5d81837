"""What a CUDA graph does, on a processor: operations noted once and replayed on the same memory."""

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Noting(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.noted = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.noted.append((func, args, kwargs or {}, result))
        return result


def _memory(tree):
    return [x.untyped_storage().data_ptr() for x in tree_leaves(tree) if isinstance(x, Tensor)]


def replay_here(run):
    """Return what does the operations of a function again; of Python nothing is done again."""
    with _Noting() as noting:
        run()

    def replay():
        for func, args, kwargs, result in noting.noted:
            again, given = func(*args, **kwargs), _memory((args, kwargs))
            for place, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(place, Tensor) and place.untyped_storage().data_ptr() not in given:
                    place.copy_(new)

    return replay
