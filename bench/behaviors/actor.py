"""Actor: a trained policy as plain arrays, to act without the package that trained it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np


@dataclass(frozen=True, eq=False)
class Actor:
    """A network with ReLU units that ends in a tanh.

    Attributes:
        weights: Per layer ``[outputs, inputs]``.
        biases: Per layer ``[outputs]``.
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Return actions ``[..., action_size]`` in [-1, 1] at observations ``[..., dim]``."""
        value = observation.astype(np.float32)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            value = (np.maximum(value, 0) if layer else value) @ weight.T + bias
        return np.tanh(value)

    def save(self, path: Path) -> None:
        """Write the arrays."""
        named = {f"w{i}": weight for i, weight in enumerate(self.weights)}
        named |= {f"b{i}": bias for i, bias in enumerate(self.biases)}
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **named)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path) as file:
            count = len(file.files) // 2
            return cls(
                tuple(file[f"w{i}"] for i in range(count)),
                tuple(file[f"b{i}"] for i in range(count)),
            )
