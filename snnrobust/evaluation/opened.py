"""Results of a run file as tables with named dimensions: those of a benchmark, or of an analysis."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from snnrobust.errors import ConfigError, RunFileError, unknown
from snnrobust.evaluation.analyses import analyses_of
from snnrobust.evaluation.observation.behaviour import KIND, read_behaviour
from snnrobust.evaluation.results import read_tolerance
from snnrobust.storage import Group, open_run

if TYPE_CHECKING:
    import xarray


def open_results(path: str | Path, kind: str | None = None, *, of: str | None = None) -> xarray.Dataset:
    """The results of a benchmark as an xarray Dataset over model, condition and instance (extra [xarray]).

    Where there is no benchmark, the behaviour of chips, whose measures of layers have a fourth dimension.

    Args:
        path: A run file.
        kind: An analysis instead, such as "landscape" or "worst_case", with the dimensions of its own.
        of: Which one, "network on chip", where the file has several.

    Raises:
        RunFileError: If the file holds no such results.
        ConfigError: If xarray is not installed.
    """
    try:
        import xarray
    except ImportError as error:
        raise ConfigError("open_results: needs xarray; install snnrobust[xarray]") from error
    stored = open_run(path)
    if kind is not None:
        group = _analysis(path, stored, kind, of)
    else:
        alone = "tolerance" not in stored and analyses_of(stored, KIND)
        group = (read_behaviour(path) if alone else read_tolerance(path)[0]).to_group()
    named = {name: array for name, array in group.arrays() if len(array.dims) == array.values.ndim}
    arrays = {name: (array.dims, array.values, dict(array.attrs)) for name, array in named.items()}
    return xarray.Dataset(arrays, attrs=dict(group.attrs))


def _analysis(path: str | Path, stored: Group, kind: str, of: str | None) -> Group:
    """The group of one analysis."""
    kinds = [name for name, _ in stored.group("analyses").groups()] if "analyses" in stored else []
    if kind not in kinds:
        raise RunFileError(f"{path}: {unknown('analysis', kind, kinds) if kinds else 'holds no analysis'}")
    found = analyses_of(stored, kind)
    if of is None and len(found) > 1:
        raise RunFileError(f"of: the file has several; give one of {', '.join(map(repr, found))}")
    if of is not None and of not in found:
        raise RunFileError(unknown(f"{kind} of", of, found))
    return found[next(iter(found)) if of is None else of]
