"""Output converters of a crossbar that differ from column to column: each has a gain and an offset of its own."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from snnrobust.hardware.stages.base import Context, Coordinate, Z, aligned, clamped


@dataclass(frozen=True)
class ColumnConverters:
    """w' = w (1 + gain_cv z_n): a gain of the converter of column n, before its steps, is one of the column's weights.

    All arrays of a layer are read by the same converters, so both coordinates are the layer's. The offset moves no
    weight: it is added to every read (`crossbar/periphery.py`).

    Attributes:
        layer: The layer.
        neurons: Its columns N.
        gain_cv: Spread of the gain.
        offset: Spread of the offset, in units of the largest weight.
    """

    layer: str
    neurons: int
    gain_cv: float
    offset: float

    def coordinates(self) -> tuple[Coordinate, ...]:
        """One a column for the gain, which can be attacked, and one for the offset."""
        gain = Coordinate(self.layer, "adc_gain", "per_column", (self.neurons,))
        offset = offset_coordinate(self.layer, self.neurons)
        return (gain,) * bool(self.gain_cv) + (offset,) * bool(self.offset)

    def apply(self, theta: Tensor, z: Z, context: Context) -> Tensor:
        """The weights times their column's gain."""
        own = next((c for c in self.coordinates() if c.component == "adc_gain" and c.key in z), None)
        if own is None:
            return theta
        return theta * (1 + self.gain_cv * aligned(z[own.key].to(theta.dtype), own.shape, len(context.spec.shape)))

    def project(self, z: Z, k: float) -> dict[str, Tensor]:
        """The gains clipped to [-k, k]."""
        return clamped(self, z, k)


def offset_coordinate(layer: str, neurons: int) -> Coordinate:
    """The offsets of a layer's converters."""
    return Coordinate(layer, "adc_offset", "per_column", (neurons,), "converter")
