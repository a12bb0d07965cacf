"""One chip that was measured in part: what is known of it is simulated as it is, the rest is drawn given that.

A measured value becomes the standardised deviation zeta of its device (the profile's monotone map, inverted). zeta is
linear in the chip's coordinates, so these have an exact conditional distribution (posterior.py): a measured device
keeps its value within the read-out noise, and what it shares with others (die, core, plane) moves those, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from snnrobust.hardware import randomness
from snnrobust.hardware.chip import Chip
from snnrobust.hardware.deployment import Deployment
from snnrobust.hardware.measurement.observations import UPPER, Observations, observe
from snnrobust.hardware.measurement.posterior import Posterior
from snnrobust.hardware.measurement.table import Measurements
from snnrobust.hardware.model import Deployable
from snnrobust.hardware.normals import normals
from snnrobust.hardware.profile import Profile
from snnrobust.hardware.stages.base import STATIC, TEMPORAL, Kind


@dataclass(frozen=True)
class ConditionedChip:
    """A chip of which some devices were measured; `Chip.condition` makes it.

    Attributes:
        profile: The family of chips that it belongs to.
        measurements: What was measured, of one chip.
        nominal: What values should be, by parameter, where the file does not say.
    """

    profile: Profile
    measurements: Measurements
    nominal: Mapping[str, float]

    def deploy(
        self,
        net: Deployable,
        instances: int = 1000,
        seed: int = 1,
        purpose: str = "test",
        *,
        limits: str = "report",
        unlisted: str = "ideal",
        only: str | None = None,
    ) -> ConditionedDeployment:
        """Put a network on this chip: every instance is the same chip where it was measured, and drawn elsewhere.

        Args, errors: as `Chip.deploy`.

        Raises:
            MeasurementError: If measurements do not fit the network or the profile, with one line for each.
        """
        plain = Chip(self.profile).deploy(net, instances, seed, purpose, limits=limits, unlisted=unlisted, only=only)
        observations = observe(plain.placement, net.nominal(), self.measurements, self.nominal)
        fields = {name: getattr(plain, name) for name in Deployment.__dataclass_fields__}
        fields["notes"] = (*plain.notes, *observations.notes)
        return ConditionedDeployment(**fields, observations=observations)


@dataclass(frozen=True, kw_only=True)
class ConditionedDeployment(Deployment):
    """A network on draws of one chip, given what was measured of it.

    Attributes:
        observations: Measured deviations, and how they follow from the coordinates.
    """

    observations: Observations

    def coordinates(
        self, chips: Sequence[int], trial: int = 0, part: int = 0, *, kinds: Sequence[Kind] = (*STATIC, *TEMPORAL)
    ) -> dict[str, Tensor]:
        """Coordinates of the chips, conditioned on the measurements."""
        z = super().coordinates(chips, trial, part, kinds=(*STATIC, *kinds))
        posterior = self.observations.posterior
        touched = [*posterior.shared, *posterior.own]
        for row, chip in enumerate(chips):
            flat = {key: z[key][row].reshape(-1).double().numpy() for key in touched}
            for key, value in posterior.condition(flat, self._noise(posterior, chip)).items():
                z[key][row] = torch.from_numpy(value).reshape(z[key][row].shape)
        for key, (devices, anomalous) in self.observations.anomalous.items():
            flags = np.where(anomalous, UPPER, -UPPER).astype(np.float32)
            z[key].view(len(chips), -1)[:, devices] = torch.from_numpy(flags)
        for key, devices in self.observations.typical_size.items():
            z[key].view(len(chips), -1)[:, devices] = 0.0
        return {key: value for key, value in z.items() if self.placement.coordinates[key].kind in kinds}

    def _noise(self, posterior: Posterior, chip: int) -> np.ndarray:
        """Read-out noise of the measurements, keyed as every draw."""
        key = randomness.key(self.seed, self.purpose, "measurement", "readout", "per_value", chip)
        return normals([key], [len(posterior.measured)]).astype(np.float64)
