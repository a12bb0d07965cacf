"""Hardware: profiles of chips, their non-idealities as stages, sampled chips.

The names load on first use: reading a profile needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snnrobust.hardware.chip import Chip as Chip
    from snnrobust.hardware.deployment import Deployment as Deployment
    from snnrobust.hardware.known_faults import (
        read_faults as read_faults,
    )
    from snnrobust.hardware.known_faults import (
        with_faults as with_faults,
    )
    from snnrobust.hardware.mismatch import (
        Placement as Placement,
    )
    from snnrobust.hardware.mismatch import (
        draw as draw,
    )
    from snnrobust.hardware.mismatch import (
        place as place,
    )
    from snnrobust.hardware.mismatch import (
        project as project,
    )
    from snnrobust.hardware.mismatch import (
        realise as realise,
    )
    from snnrobust.hardware.model import Model as Model
    from snnrobust.hardware.module import Module as Module
    from snnrobust.hardware.profile import (
        Profile as Profile,
    )
    from snnrobust.hardware.profile import (
        check_profile as check_profile,
    )
    from snnrobust.hardware.profile import (
        list_profiles as list_profiles,
    )
    from snnrobust.hardware.profile import (
        load_profile as load_profile,
    )

_HOME = {
    "Chip": "chip",
    "Deployment": "deployment",
    "Model": "model",
    "Module": "module",
    "Placement": "mismatch",
    "Profile": "profile",
    "check_profile": "profile",
    "draw": "mismatch",
    "list_profiles": "profile",
    "load_profile": "profile",
    "place": "mismatch",
    "project": "mismatch",
    "read_faults": "known_faults",
    "realise": "mismatch",
    "with_faults": "known_faults",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:  # noqa: ANN401 (any public object)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
