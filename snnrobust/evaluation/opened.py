"""Results of a run file as tables with named dimensions: those of a benchmark, or the behaviour of chips."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from snnrobust.errors import ConfigError
from snnrobust.evaluation.analyses import analyses_of
from snnrobust.evaluation.behaviour import KIND, read_behaviour
from snnrobust.evaluation.results import read_tolerance
from snnrobust.storage import open_run

if TYPE_CHECKING:
    import xarray


def open_results(path: str | Path) -> xarray.Dataset:
    """The results of a benchmark as an xarray Dataset over model, condition and instance (extra [xarray]).

    Where there is no benchmark, the behaviour of chips, whose measures of layers have a fourth dimension;
    `read_behaviour` reads it where there are both.

    Raises:
        RunFileError: If the file holds neither.
        ConfigError: If xarray is not installed.
    """
    try:
        import xarray
    except ImportError as error:
        raise ConfigError("open_results: needs xarray; install snnrobust[xarray]") from error
    stored = open_run(path)
    alone = "tolerance" not in stored and analyses_of(stored, KIND)
    group = (read_behaviour(path) if alone else read_tolerance(path)[0]).to_group()
    arrays = {name: (array.dims, array.values, dict(array.attrs)) for name, array in group.arrays()}
    return xarray.Dataset(arrays, attrs=dict(group.attrs))
