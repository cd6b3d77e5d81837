"""Whether this process was asked to stop, noticed between two updates and never in the middle.

A signal only sets a flag. Whoever trains looks at it after every update, saves what there is and
leaves, so that nothing is ever half done.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """Training ended before its end because the process was asked to stop.

    Like ``KeyboardInterrupt`` no ``Exception``: a run is not failed by it.
    """


class _Asked:
    """The signal that asked this process to stop, and who must be alive for it to go on."""

    signal: int | None = None
    parent: int | None = None


def asked() -> bool:
    """Return whether to stop at the next update: by a signal, or because the parent has gone."""
    return _Asked.signal is not None or orphaned()


def signal_number() -> int | None:
    """Return the signal that asked, None if there was none."""
    return _Asked.signal


def orphaned() -> bool:
    """Return whether the process that this one works for has gone."""
    return _Asked.parent is not None and os.getppid() != _Asked.parent


def leave_with(parent: int) -> None:
    """Make this process one that works for `parent`: it stops when asked and when that has gone."""
    _Asked.parent = parent
    for number in SIGNALS:
        signal.signal(number, _note)


@contextmanager
def listening(*more: signal.Signals, insist: bool = False) -> Iterator[None]:
    """Note signals (and `more` of them) instead of dying of them.

    With `insist` a second Ctrl-C raises ``KeyboardInterrupt`` at once, for a user at a terminal.
    """
    _Asked.signal = None
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = _note_or_raise if insist else _note
    before = {number: signal.signal(number, handler) for number in (*SIGNALS, *more)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Let processes that are started meanwhile ignore Ctrl-C until they listen by themselves.

    They inherit it; otherwise one that is still importing would die of it with a traceback.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _note(number: int, frame: FrameType | None) -> None:
    _Asked.signal = number


def _note_or_raise(number: int, frame: FrameType | None) -> None:
    if _Asked.signal is not None and number == signal.SIGINT:
        raise KeyboardInterrupt
    _Asked.signal = number
