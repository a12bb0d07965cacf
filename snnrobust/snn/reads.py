"""How a layer's weighted sums are read out of a crossbar at every step: noise of a read, and an ADC for each tile."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from snnrobust.errors import ConfigError, ShapeError
from snnrobust.snn.engines.layout import RECURRENT

NUMBERS = ("noise", "weight_noise", "step", "bound", "offset", "drop", "recurrent_drop")
"""What is stated of each column, in the order of the rows that kernels read (`engines.layout`)."""


@dataclass(frozen=True, kw_only=True)
class Reads:
    """Reads of a layer's crossbar, one for each tile and step.

    Input weights and recurrent weights lie on tiles of their own, of `rows` sources each. In a step, a tile gives

        y = sum_j w_j x_j - lost + offset + sqrt(noise^2 + weight_noise^2 sum_j |w_j| x_j^2) z
        y <- clip(round(y / step) step)   with an ADC, to the range -bound .. bound

    and the layer's current is the sum of y over tiles, plus bias. z is standard normal, one for each instance, step,
    sample, tile and column; sums are over the tile's sources, w is the weight times the gain. What is lost on the
    wires is `lost_on_bit_line`, its unit the number `drop` (of recurrent weights `recurrent_drop`). A tile that gets no
    input in a step is not read, unless reads are clocked. The second term of the noise is that of aihwkit's PCM_READ
    (`w_noise`), the first its `out_noise`. Backward, rounding passes the gradient straight through, and noise is a
    constant.

    Attributes:
        keys: What z is keyed by, a number of 64 bits for each instance, or one for all. Several keys run one network
            in several trials; layers given the same key have the same z, so give each its own.
        noise: Standard deviation of a column's output, in units of the current: a number, [N] or [K, N].
        weight_noise: Factor of the noise that grows with the cells that are read, a number, [N] or [K, N].
        step: Step of the ADC in units of the current, a number, [N] or [K, N]; 0 for no ADC.
        bound: Largest size that the ADC gives, a number, [N] or [K, N].
        offset: What the ADC adds to every read, of any sign, a number, [N] or [K, N].
        drop: Relative current in the bit line of a tile of one source with w x = 1, a number, [N] or [K, N].
        recurrent_drop: The same of recurrent weights.
        rows: Sources of a tile; None for one tile a matrix.
        clocked: Tiles without an input are read, too.
        first_sample: Number of the first sample, for batches that are parts of one.

    Raises:
        ConfigError: For a value outside its domain.
        ShapeError: If keys and numbers disagree on the number of instances.
    """

    keys: tuple[int, ...]
    noise: float | Tensor = 0.0
    weight_noise: float | Tensor = 0.0
    step: float | Tensor = 0.0
    bound: float | Tensor = math.inf
    offset: float | Tensor = 0.0
    drop: float | Tensor = 0.0
    recurrent_drop: float | Tensor = 0.0
    rows: int | None = None
    clocked: bool = False
    first_sample: int = 0

    def __post_init__(self) -> None:
        if not self.keys or not all(0 <= key < 2**64 for key in self.keys):
            raise ConfigError(f"keys: {self.keys} must be one or more numbers from 0 to 2^64 - 1")
        if self.rows is not None and self.rows < 1:
            raise ConfigError(f"rows: {self.rows} must be at least 1 source a tile, or None")
        if not 0 <= self.first_sample < 2**32:
            raise ConfigError(f"first_sample: {self.first_sample} must be from 0 to 2^32 - 1")
        counts = {len(self.keys)} - {1}
        for name in NUMBERS:
            value = torch.as_tensor(getattr(self, name))
            if name == "offset" and not bool(value.isfinite().all()):
                raise ConfigError("offset: must be finite")
            if name != "offset" and not bool((value >= 0).all()):
                raise ConfigError(f"{name}: {float(value.min()):g} must be 0 or more")
            if value.ndim == 2:
                counts |= {len(value)} - {1}
        if len(counts) > 1:
            raise ShapeError(f"instances: keys and numbers disagree on their number: {counts}")

    @property
    def instances(self) -> int:
        """K, 1 where one key and one row of numbers serve all."""
        numbers = (torch.as_tensor(getattr(self, name)) for name in NUMBERS)
        return max([len(self.keys), *(len(n) for n in numbers if n.ndim == 2)])

    def column(self, name: str, neurons: int, like: Tensor) -> Tensor:
        """One of the numbers as [N] or [K, N], in the precision of `like`.

        Raises:
            ShapeError: If it is neither a number nor of this shape.
        """
        value = torch.as_tensor(getattr(self, name), dtype=like.dtype, device=like.device)
        if value.ndim == 0:
            return value.expand(neurons)
        if value.shape[-1] != neurons or value.ndim > 2:
            raise ShapeError(f"{name}: shape {tuple(value.shape)} must be [{neurons}] or [K, {neurons}]")
        return value[0] if value.ndim == 2 and len(value) == 1 else value

    def check(self, sources: int) -> int:
        """Sources of a tile of a matrix with so many.

        Raises:
            ConfigError: If there are more tiles than a step has reads.
        """
        rows = sources if self.rows is None else self.rows
        if sources > rows * RECURRENT:
            raise ConfigError(f"rows: {rows} of {sources} sources give more than {RECURRENT} tiles")
        return rows

    def current(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Current of the inputs of all steps [T, B, N] or [K, T, B, N], arguments as of `eager.input_current`."""
        u = self.read(x, weight, first=0, step=0)
        return u if bias is None else u + (bias if bias.ndim == 1 else bias[:, None, None, :])

    def feedback(self, o: Tensor, weight: Tensor, step: int) -> Tensor:
        """Current of the recurrent weights in a step, from the spikes of the last one [.., B, N]."""
        return self.read(o.unsqueeze(-3), weight, first=RECURRENT, step=step).squeeze(-3)

    def read(self, x: Tensor, weight: Tensor, *, first: int, step: int) -> Tensor:
        """The summed output of a matrix's tiles, in plain torch: the definition of both engines.

        Args:
            x: Inputs or spikes of some steps [T, B, I] or [K, T, B, I].
            weight: [N, I] or [K, N, I].
            first: Number of the first read, 0 or `RECURRENT`.
            step: Number of the first step.

        Returns:
            [T, B, N] or [K, T, B, N].
        """
        neurons, sources = weight.shape[-2:]
        rows = self.check(sources)
        matrices = weight if weight.ndim == 2 else weight[:, None]
        numbers = {name: self.column(name, neurons, weight) for name in NUMBERS}
        c = {name: value if value.ndim == 1 else value[:, None, None] for name, value in numbers.items()}
        drop = c["drop"] if first < RECURRENT else c["recurrent_drop"]
        total: Tensor | None = None
        for tile in range(-(-sources // rows)):
            part = slice(tile * rows, (tile + 1) * rows)
            own, w = x[..., part], matrices[..., part]
            y = own @ w.mT
            if bool((drop > 0).any()):
                y = y - lost_on_bit_line(own, w, drop)
            y = y + c["offset"]
            if bool((c["noise"] > 0).any() | (c["weight_noise"] > 0).any()):
                size = (own.detach() ** 2) @ w.detach().abs().mT
                z = self._normals(y, first + tile, step)
                y = y + (c["noise"] ** 2 + c["weight_noise"] ** 2 * size).sqrt() * z
            if bool((c["step"] > 0).any()):
                there = torch.where(c["step"] > 0, c["step"], torch.ones_like(c["step"]))
                coarse = y + (there * torch.round(y / there) - y).detach()
                y = torch.where(c["step"] > 0, torch.clamp(coarse, -c["bound"], c["bound"]), y)
            if not self.clocked:
                y = torch.where((own != 0).any(-1, keepdim=True), y, y - y.detach())  # the gradient passes
            total = y if total is None else total + y
        assert total is not None
        several = self.instances > 1 and total.ndim == 3  # also where nothing in them differs
        return total.expand(self.instances, *total.shape) if several else total

    def _normals(self, like: Tensor, read: int, step: int) -> Tensor:
        from snnrobust.snn.engines.readings import normals_of

        steps, batch, neurons = like.shape[-3:]
        keys = np.array(self.keys, np.uint64)
        z = torch.from_numpy(normals_of(keys, read, range(step, step + steps), self.first_sample, batch, neurons))
        z = z.to(like.device, like.dtype)
        return z if len(self.keys) > 1 else z[0]


def lost_on_bit_line(x: Tensor, w: Tensor, unit: Tensor | float) -> Tensor:
    """What a tile's outputs w x lose on long bit lines, as a polynomial of their current: aihwkit's `ir_drop`.

        lost = c sum_j w_j x_j (1 - (1 - j/n)^2),   c = a (a (0.05 a - 0.2) + 0.5),   a = unit n sum_j |w_j x_j|

    j counts the n sources of the tile from 0, which is at the converter and loses nothing. Rasch et al., IEEE AICAS
    2021, DOI 10.1109/AICAS51828.2021.9458494, in their code (`applyIrDrop` of the forward pass).

    Args:
        x: Inputs [.., n] (`torch.matmul` of x and w^T).
        w: Weights [.., N, n].
        unit: Relative current in the bit line of a tile of one source with w x = 1, a number, or [.., N].

    Returns:
        [.., N], in the units of w x.
    """
    sources = x.shape[-1]
    near = 1 - torch.arange(sources, dtype=x.dtype, device=x.device) / sources
    current = unit * sources * (x.abs() @ w.abs().mT)
    return drop_factor(current) * ((x * (1 - near**2)) @ w.mT)


def drop_factor(a: Tensor) -> Tensor:
    """c = a (a (0.05 a - 0.2) + 0.5) of a relative bit line current a."""
    return a * (a * (0.05 * a - 0.2) + 0.5)
