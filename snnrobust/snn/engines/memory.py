"""Where the fused engine's arrays come from: cache lines, and memory that is lent again when nothing needs it."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]


def aligned(shape: tuple[int, ...], dtype: Any) -> Values:  # noqa: ANN401 (a dtype)
    """An array with the values that happen to be there, from a cache line's first byte on: rows are read faster."""
    size = prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, np.uint8)
    first = -memory.ctypes.data % 64
    found: Values = memory[first : first + size].view(dtype).reshape(shape)
    return found


def zeros(shape: tuple[int, ...], dtype: Any) -> Values:  # noqa: ANN401 (a dtype)
    """As `aligned`, with zeros."""
    found = aligned(shape, dtype)
    found[...] = 0
    return found


class Lease:
    """Buffers by name that belong to this object until it is gone; then the next lease gets them.

    Memory that a process has just got from the system costs a page fault every 4 KB, which was a fifth of the
    inference. Tapes and spikes hold their lease, so that what is still needed is never lent again.
    """

    _free: ClassVar[list[dict[str, Values]]] = []
    _most: ClassVar[int] = 8
    _largest: ClassVar[int] = 128_000_000
    """Bytes; more are given back to the system."""

    def __init__(self) -> None:
        try:
            self._buffers = self._free.pop()
        except IndexError:
            self._buffers = {}

    def __del__(self) -> None:
        if len(self._free) < self._most and sum(b.nbytes for b in self._buffers.values()) <= self._largest:
            self._free.append(self._buffers)

    def empty(self, name: str, shape: tuple[int, ...], dtype: Any) -> Values:  # noqa: ANN401 (a dtype)
        """An array with the values that happen to be there; the same name gives the same memory again."""
        size = prod(shape) * np.dtype(dtype).itemsize
        if name not in self._buffers or self._buffers[name].nbytes < size:
            self._buffers[name] = aligned((size,), np.uint8)
        found: Values = self._buffers[name][:size].view(dtype).reshape(shape)
        return found
