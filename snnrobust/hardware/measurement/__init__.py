"""From measurements to a profile, and to one chip.

`read_measurements` reads a tidy CSV file, `fit_measurements` estimates the spreads, `to_profile` writes them as a
profile, `ConditionedChip` simulates the chip that was measured. The names load on first use: only the last needs torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snnrobust.hardware.measurement.conditioned import ConditionedChip as ConditionedChip
    from snnrobust.hardware.measurement.fit import Fit as Fit
    from snnrobust.hardware.measurement.fit import fit_measurements as fit_measurements
    from snnrobust.hardware.measurement.table import Measurements as Measurements
    from snnrobust.hardware.measurement.table import read_measurements as read_measurements
    from snnrobust.hardware.measurement.writing import report as report
    from snnrobust.hardware.measurement.writing import to_profile as to_profile

_HOME = {
    "ConditionedChip": "conditioned",
    "Fit": "fit",
    "Measurements": "table",
    "fit_measurements": "fit",
    "read_measurements": "table",
    "report": "writing",
    "to_profile": "writing",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:  # noqa: ANN401 (any public object)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
