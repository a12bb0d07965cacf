"""Run files, their journals, and readers for files from elsewhere."""

from snnrobust.storage.journal import Journal, journal_path, read_journal, remove_journal
from snnrobust.storage.lock import locked, unwritten
from snnrobust.storage.reader import Limits
from snnrobust.storage.runfile import command_line, read_run, write_run
from snnrobust.storage.safe import open_run, vet
from snnrobust.storage.tree import Array, Group, Scalar, parsed

__all__ = [
    "Array",
    "Group",
    "Journal",
    "Limits",
    "Scalar",
    "command_line",
    "journal_path",
    "locked",
    "open_run",
    "parsed",
    "read_journal",
    "read_run",
    "remove_journal",
    "unwritten",
    "vet",
    "write_run",
]
