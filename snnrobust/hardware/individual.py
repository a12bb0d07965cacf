"""Chips with parameters of their own: each is realised by itself, as if the network were put on that chip alone.

A parameter is a chip's own where it has an instance axis, one axis more than its nominal value. What is taken over a
tensor (ranges of quantisers, medians) and from its siblings (units) is then that of the chip's own values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from snnrobust.errors import ConfigError, ShapeError, unknown
from snnrobust.hardware import mismatch
from snnrobust.hardware.mismatch import Kept, Placement
from snnrobust.hardware.stages import Z
from snnrobust.snn.specs import WEIGHTS, ParameterSpec

Params = Mapping[str, Tensor]
Specs = Mapping[str, ParameterSpec]

POTENTIALS = ("v_th", "v_leak", "v_reset")
"""Roles in units of which others of their layer may vary."""
_STORED_WITH = {**dict.fromkeys(WEIGHTS, WEIGHTS), "v_leak": ("v_th",)}
"""Roles of a layer that are stored together: weights share a core's currents, a threshold counts from the leak."""


def own(specs: Specs, theta: Params) -> tuple[str, ...]:
    """Names of the parameters that each chip has its own of."""
    return tuple(name for name, p in theta.items() if p.ndim > len(specs[name].shape))


def rows(specs: Specs, values: Params, chips: Sequence[int] | slice | int) -> dict[str, Tensor]:
    """Values of some chips, by position; what all chips share stays as it is. One chip has no instance axis."""
    return {name: p[chips] if p.ndim > len(specs[name].shape) else p for name, p in values.items()}


def one_by_one(specs: Specs, theta: Params, z: Z) -> list[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Parameters and coordinates of each chip; of all chips at once where none has parameters of its own."""
    mine = own(specs, theta)
    if not mine:
        return [(dict(theta), dict(z))]
    count = len(theta[mine[0]])
    return [(rows(specs, theta, k), {key: value[k] for key, value in z.items()}) for k in range(count)]


def stored_with(specs: Specs, names: Iterable[str]) -> tuple[str, ...]:
    """Parameters whose stored values depend on these parameters."""
    pairs = [(specs[name].layer, role) for name in names for role in _STORED_WITH.get(specs[name].role, ())]
    return tuple(name for name, spec in specs.items() if name in names or (spec.layer, spec.role) in pairs)


def moved_with(specs: Specs, names: Iterable[str]) -> tuple[str, ...]:
    """Parameters whose values on a chip depend on these parameters."""
    stored = stored_with(specs, names)
    layers = {specs[name].layer for name in names if specs[name].role in POTENTIALS}
    return tuple(name for name, spec in specs.items() if name in stored or spec.layer in layers)


def checked(specs: Specs, nominal: Params, given: Params) -> dict[str, Tensor]:
    """Copies of the parameters that chips are to have of their own, in the precision of the nominal ones.

    Raises:
        ConfigError: If a name is unknown, or the numbers of chips differ.
        ShapeError: If a tensor is not the nominal one with an instance axis.
    """
    for name, p in given.items():
        if name not in specs:
            raise ConfigError(unknown("parameters", name, specs))
        if p.ndim != len(specs[name].shape) + 1 or tuple(p.shape[1:]) != specs[name].shape or not len(p):
            wanted = ", ".join(map(str, ("K", *specs[name].shape)))
            raise ShapeError(f"parameters: {name} of shape {tuple(p.shape)} must be [{wanted}], K the number of chips")
    counts = {name: len(p) for name, p in given.items()}
    if len(set(counts.values())) > 1:
        raise ConfigError(f"parameters: they disagree on the number of chips: {counts}")
    return {name: p.detach().to(nominal[name].dtype, copy=True) for name, p in given.items()}


def only(placement: Placement, names: Iterable[str]) -> Placement:
    """The placement with the stages of these parameters alone."""
    return replace(placement, stages={name: placement.stages[name] for name in names if name in placement.stages})


def stored(placement: Placement, theta: Params, plain: Params) -> dict[str, Tensor]:
    """What chips store: `mismatch.stored` of each chip's own parameters, and `plain` of what all chips share."""
    mine = own(placement.specs, theta)
    if not mine:
        return dict(plain)
    names = stored_with(placement.specs, mine)
    few = only(placement, names)
    each = [mismatch.stored(few, values) for values, _ in one_by_one(placement.specs, theta, {})]
    return {**plain, **{name: torch.stack([one[name] for one in each]) for name in names}}


def realise(
    placement: Placement, theta: Params, z: Z, *, stored: Params, kept: Mapping[str, Kept] | None = None
) -> dict[str, Tensor]:
    """`mismatch.realise`, chip by chip where chips have parameters of their own; z has an instance axis."""
    specs = placement.specs
    if not own(specs, theta):
        return mismatch.realise(placement, theta, z, stored=stored, kept=kept)
    each = [
        mismatch.realise(
            placement,
            values,
            z_of_chip,
            stored=rows(specs, stored, k),
            kept=None if kept is None else {name: _row(specs[name], held, k) for name, held in kept.items()},
        )
        for k, (values, z_of_chip) in enumerate(one_by_one(specs, theta, z))
    ]
    shared = {name for name, p in each[0].items() if p is theta[name] or p is stored[name]}
    return {name: p if name in shared else torch.stack([one[name] for one in each]) for name, p in each[0].items()}


def keep(placement: Placement, theta: Params, z: Z, *, stored: Params) -> dict[str, Kept]:
    """`mismatch.keep`, chip by chip where chips have parameters of their own; z has an instance axis."""
    specs = placement.specs
    if not own(specs, theta):
        return mismatch.keep(placement, theta, z, stored=stored)
    each = [
        mismatch.keep(placement, values, z_of_chip, stored=rows(specs, stored, k))
        for k, (values, z_of_chip) in enumerate(one_by_one(specs, theta, z))
    ]
    return {
        name: Kept(
            torch.stack([one[name].theta for one in each]),
            tuple(torch.stack(cells) for cells in zip(*(one[name].cells for one in each), strict=True)),
        )
        for name in each[0]
    }


def _row(spec: ParameterSpec, kept: Kept, k: int) -> Kept:
    """What one chip keeps."""
    theta, *cells = (p[k] if p.ndim > len(spec.shape) else p for p in (kept.theta, *kept.cells))
    return Kept(theta, tuple(cells))
