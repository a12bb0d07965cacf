"""What all models of the profile schema share: strictness, number domains, evidence."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Evidence = Literal["measured", "measured_secondary", "simulator", "derived", "assumption"]

Role = Literal[
    "weight",
    "recurrent_weight",
    "bias",
    "gain",
    "tau_mem",
    "tau_syn",
    "v_th",
    "v_leak",
    "v_reset",
    "refractory",
    "tau_adapt",
    "adaptation",
]

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Bits = Annotated[int, Field(ge=1, le=32)]
Text = Annotated[str, Field(min_length=1)]
# YAML has lists, a frozen model wants tuples; only the container is converted, the elements stay strict.
Numbers = Annotated[tuple[float, ...], Field(strict=False, min_length=1)]


class Frozen(BaseModel):
    """Base of all models: immutable, strict types, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Block(Frozen):
    """A part of a profile that may carry numbers, and says where they come from.

    Attributes:
        evidence: How the numbers of this block are known; inherited from the enclosing block when absent.
        source: Key of an entry of `sources`; required (own or inherited) unless evidence is `assumption`.
        note: Free text for the reader.
    """

    evidence: Evidence | None = None
    source: Text | None = None
    note: Text | None = None
