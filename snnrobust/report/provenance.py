"""How results came about: training, versions, seeds, commands."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from snnrobust.report.contents import Contents, groups_of, plain
from snnrobust.training.record import TrainedModel

_ORDER = {
    name: i
    for i, name in enumerate(
        ("network", "parameters", "step", "task", "encoding", "task_split", "objective", "firing_rate", "settings")
    )
}
"""Order of what is said about a training; the rest follows."""
_VERSIONS = ("snnrobust", "torch", "numpy", "h5py", "hdf5")


class Row(NamedTuple):
    """One property of all networks.

    Attributes:
        name: The property.
        cells: Its value for each network.
        differs: Whether the values differ.
    """

    name: str
    cells: list[str]
    differs: bool


def training(models: list[TrainedModel]) -> list[Row]:
    """How the networks were made, a row a property."""
    columns = [_made(model) for model in models]
    found = dict.fromkeys(name for column in columns for name in column)
    names = sorted(found, key=lambda name: _ORDER.get(name.split(".")[0], len(_ORDER)))
    rows = [(name, [column.get(name, "–") for column in columns]) for name in names]
    return [Row(name, cells, len(set(cells)) > 1) for name, cells in rows]


def _made(model: TrainedModel) -> dict[str, str]:
    size = sum(p.numel() for p in model.net.nominal().values())
    made = {**_structure(model.net.to_dict()), "parameters": f"{size:,}"}
    config = model.config if isinstance(model.config, Mapping) else {}
    if not config:
        return {**made, "training": "not recorded"}
    hidden = ("structure", "initial_parameters")
    made |= dict(_flat({name: value for name, value in config.items() if name not in hidden}))
    epoch = model.selected_epoch
    made["weights kept"] = "average of the last epochs" if epoch < 0 else f"of epoch {epoch + 1}"
    if seconds := sum(s for s in model.history.get("seconds", []) if math.isfinite(s)):
        made["training time"] = f"{seconds:.0f} s"
    return made


def _structure(structure: Mapping[str, Any]) -> dict[str, str]:
    if "module" in structure:
        return {"network": f"module {structure['module']}"}
    layers = [*structure["layers"], structure["readout"]]
    kinds = (
        f"{layer['kind']} {layer['inputs']} → {layer['neurons']}{' recurrent' if layer.get('recurrent') else ''}"
        for layer in layers
    )
    return {"network": "; ".join(kinds), "step": f"{1e3 * layers[0]['dynamics']['dt']:g} ms"}


def provenance(contents: Contents) -> dict[str, str]:
    """What is known of how a run file came about, by name."""
    stored, config = contents.stored, contents.config
    chips = config.get("chips")
    chips = chips if isinstance(chips, Mapping) else {}
    versions = [f"{name} {stored.attrs[f'{name}_version']}" for name in _VERSIONS if f"{name}_version" in stored.attrs]
    lines = {
        "created": stored.attrs.get("created"),
        "versions": ", ".join(versions),
        "engine": stored.attrs.get("engine"),
        "threads": stored.attrs.get("threads"),
        "chips": chips.get("instances"),
        "seed of the chips": chips.get("seed"),
        "purpose of the chips": chips.get("purpose"),
        "trials": chips.get("trials"),
        "command": stored.attrs.get("command"),
    }
    return {name: str(value) for name, value in lines.items() if value not in (None, "")}


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Leaves of nested settings as text, by "objective.radius"; None is left out."""
    for key, item in value.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(item, Mapping):
            yield from _flat(item, name)
        elif item is not None:
            yield name, plain(item)


def commands(contents: Contents) -> list[str]:
    """The commands that made the analyses, each once."""
    found = dict.fromkeys(
        str(group.attrs.get("command", ""))
        for _, kind in groups_of(contents.stored, "analyses")
        for _, group in kind.groups()
    )
    return [line for line in found if line]
