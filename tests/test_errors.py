"""What the machine lacks is told apart from what a program does wrong."""

import errno
import os

import numpy as np
import pytest
import torch

from bench.errors import UserError, machine_failure, one_sentence


def raised(function):
    """Return the exception that a function raises."""
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("It raises nothing.")


def written_to_a_full_disk():
    """Write an array as a cache does, to a device that refuses every byte."""
    with open("/dev/full", "wb", buffering=0) as file:
        np.ones(10**6).tofile(file)


def too_large_for_torch():
    """Ask torch for more memory than there is."""
    torch.empty(2**60)


def hidden_by_another():
    """Raise the system's refusal as something else."""
    try:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x.npy")
    except OSError:
        raise UserError("There is no space.") from None


@pytest.mark.parametrize(
    ("function", "said", "memory"),
    [
        (lambda: np.empty(2**56), "Memory ran out (Unable to allocate", True),
        (too_large_for_torch, "Memory ran out (", True),
        (written_to_a_full_disk, "the disk may be full", False),
        (hidden_by_another, "/data/x.npy: No space left on device", False),
    ],
)
def test_the_machine_is_to_blame(function, said, memory):
    failure = machine_failure(raised(function))
    assert said in failure.sentence
    assert failure.memory is memory


@pytest.mark.parametrize(
    "error",
    [ValueError("requested"), FileNotFoundError(2, "no"), RuntimeError("shape"), KeyError(28)],
)
def test_a_program_is_to_blame(error):
    assert machine_failure(error) is None


def test_a_command_that_finds_no_memory_ends_in_one_sentence(capfd):
    with pytest.raises(SystemExit) as stop, one_sentence():
        np.empty(2**56)
    assert stop.value.code == 2
    assert capfd.readouterr().err.startswith("Memory ran out (Unable to allocate 512. PiB")


def test_a_mistake_keeps_its_traceback():
    with pytest.raises(RuntimeError, match="mistake"), one_sentence():
        raise RuntimeError("mistake")
