"""Run files, their journals, and readers for files from elsewhere."""

from snnrobust.storage.journal import Journal, journal_path, read_journal, remove_journal
from snnrobust.storage.lock import locked
from snnrobust.storage.reader import Limits
from snnrobust.storage.runfile import read_run, write_run
from snnrobust.storage.safe import open_run, vet
from snnrobust.storage.tree import Array, Group, Scalar

__all__ = [
    "Array",
    "Group",
    "Journal",
    "Limits",
    "Scalar",
    "journal_path",
    "locked",
    "open_run",
    "read_journal",
    "read_run",
    "remove_journal",
    "vet",
    "write_run",
]
