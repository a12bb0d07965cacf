"""Progress of long work: a bar with rate and remaining time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

LINE_EVERY = 10.0
"""Seconds between two plain lines, so that a log file stays readable."""


class Progress:
    """Counts finished units and shows them; made by `progress`."""

    def __init__(self, label: str, total: int, done: int = 0) -> None:
        self.label, self.total, self.done = label, total, done
        self._start, self._first, self._last_line = time.monotonic(), done, float("-inf")

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count finished units; `note` is shown beside them."""
        self.done += count
        self.show(note)

    def leave_out(self, count: int) -> None:
        """Count units that are not wanted any more: neither the rest nor the rate has them."""
        self.total -= count

    def show(self, note: str) -> None:
        """Show the state; this base shows nothing."""

    def remaining(self) -> str:
        """Rate and time left, as text."""
        elapsed, finished = time.monotonic() - self._start, self.done - self._first
        if not finished or elapsed <= 0:
            return ""
        rate = finished / elapsed
        left = (self.total - self.done) / rate
        shown = f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each"
        return f"{shown}, {_duration(left)} left"


def _duration(seconds: float) -> str:
    if seconds <= 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


class _Lines(Progress):
    def show(self, note: str) -> None:
        now = time.monotonic()
        if now - self._last_line < LINE_EVERY and self.done < self.total:
            return
        self._last_line = now
        parts = [f"{self.label}: {self.done}/{self.total}", self.remaining(), note]
        print("  ".join(p for p in parts if p), file=sys.stderr, flush=True)


class _Bar(Progress):
    def __init__(self, label: str, total: int, done: int = 0) -> None:
        super().__init__(label, total, done)
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self.bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}  {task.fields[note]}"),
            console=Console(stderr=True),  # the standard output may go into a file
        )
        self._task = self.bar.add_task(label, total=total, completed=done, note="")

    def show(self, note: str) -> None:
        text = "  ".join(p for p in (self.remaining(), note) if p)
        self.bar.update(self._task, completed=self.done, total=self.total, note=text)


@contextmanager
def progress(label: str, total: int, *, done: int = 0, show: bool = True) -> Iterator[Progress]:
    """A progress display for `total` units, of which `done` were finished before."""
    if not show:
        yield Progress(label, total, done)
    elif sys.stderr.isatty():
        bar = _Bar(label, total, done)
        with bar.bar:
            yield bar
    else:
        yield _Lines(label, total, done)
