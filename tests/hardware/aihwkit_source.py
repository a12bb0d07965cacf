"""aihwkit's noise models, which are plain Python, without the compiled rest of the package.

`AIHWKIT_SOURCE` names a folder with the unpacked source, where aihwkit is not installed; `make oracles` makes one.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest import mock

import torch
from torch import Tensor

MODULES = ("noise.pcm", "noise.reram", "noise.hermes", "noise.custom", "converter.conductance", "compensation.drift")


def folder() -> Path | None:
    """The package's folder, installed or in the source; None where there is neither."""
    installed = importlib.util.find_spec("aihwkit")
    if installed is not None and installed.submodule_search_locations:
        return Path(installed.submodule_search_locations[0])
    source = Path(os.environ.get("AIHWKIT_SOURCE") or os.devnull)
    places = (source / "src" / "aihwkit", source / "aihwkit")
    return next((place for place in places if (place / "inference" / "noise").is_dir()), None)


def load(package: Path) -> SimpleNamespace:
    """pcm, reram, hermes, custom, conductance and drift.

    Empty packages stand for those whose `__init__` imports the compiled simulator; sys.modules is as it was afterwards.
    """
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "aihwkit"}
    for name in before:
        del sys.modules[name]
    try:
        for name in ("aihwkit", "aihwkit.inference"):
            bare = ModuleType(name)
            bare.__path__ = [str(package.joinpath(*name.split(".")[1:]))]
            sys.modules[name] = bare
        found = {name.rpartition(".")[2]: importlib.import_module(f"aihwkit.inference.{name}") for name in MODULES}
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "aihwkit"]:
            del sys.modules[name]
        sys.modules.update(before)
    return SimpleNamespace(**found)


@contextmanager
def given_normals(module: ModuleType, *numbers: Tensor) -> Iterator[None]:
    """The module's calls of randn_like give these numbers, one after the other, and no call is left out."""
    with mock.patch.object(module, "randn_like", side_effect=numbers) as drawn:
        yield
    assert drawn.call_count == len(numbers)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's global generator, which aihwkit draws from, at a seed; afterwards it is where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
