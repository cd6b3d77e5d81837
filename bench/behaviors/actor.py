"""Actor: a trained policy as plain arrays, to act without the package that trained it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np

End = Literal["tanh", "clip"]


@dataclass(frozen=True, eq=False)
class Actor:
    """A network with ReLU units.

    Attributes:
        weights: Per layer ``[outputs, inputs]``.
        biases: Per layer ``[outputs]``.
        end: What brings its outputs into [-1, 1].
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    end: End

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Return actions ``[..., action_size]`` in [-1, 1] at observations ``[..., dim]``."""
        value = observation.astype(np.float32)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            value = (np.maximum(value, 0) if layer else value) @ weight.T + bias
        return np.tanh(value) if self.end == "tanh" else np.clip(value, -1, 1)

    def standardised(self, mean: np.ndarray, std: np.ndarray) -> Self:
        """Return the same actor of observations not yet standardised by `mean` and `std`."""
        first = self.weights[0] / std
        shift = self.biases[0] - first @ mean
        return replace(
            self,
            weights=(first.astype(np.float32), *self.weights[1:]),
            biases=(shift.astype(np.float32), *self.biases[1:]),
        )

    def save(self, path: Path) -> None:
        """Write the arrays."""
        named = {f"w{i}": weight for i, weight in enumerate(self.weights)}
        named |= {f"b{i}": bias for i, bias in enumerate(self.biases)}
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, end=np.array(self.end), **named)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path) as file:
            # One array beside the layers' is how it ends.
            count = (len(file.files) - 1) // 2
            return cls(
                tuple(file[f"w{i}"] for i in range(count)),
                tuple(file[f"b{i}"] for i in range(count)),
                str(file["end"]),  # type: ignore[arg-type]
            )
