"""Profiles in the terminal: the catalogue, one of them, two side by side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.table import Table

from snnrobust.report.text import console, percent, table

if TYPE_CHECKING:
    from snnrobust.hardware.profile import Profile
    from snnrobust.hardware.schema.comparison import Difference


def profiles_table(profiles: Iterable[Profile]) -> Table:
    """A line a profile: what it is made in, of what kind, how many numbers it states, which share is assumed."""
    columns = {"profile": "name", "technology": "name", "kind": "name", "numbers": "number", "assumed (%)": "number"}
    return table("", columns, (_summary(profile) for profile in profiles))


def _summary(profile: Profile) -> tuple[str, ...]:
    counts = profile.evidence_summary().counts
    total = sum(counts.values())
    assumed = percent(counts.get("assumption", 0) / total) if total else ""
    return profile.name, _technology(profile), profile.kind, str(total), assumed


def _technology(profile: Profile) -> str:
    devices = profile.crossbar.technology if profile.crossbar else None
    return ", ".join(part for part in (devices, profile.process) if part)


def profile_page(profile: Profile) -> None:
    """Print a profile: what it is, every number with its evidence and source, what is not simulated yet."""
    out = console()
    out.print(f"{profile.name} ({profile.kind}, sha256 {profile.hash[:12]})", style="bold")
    out.print(" ".join(profile.description.split()))
    if technology := _technology(profile):
        out.print(f"technology: {technology}")
    rows = [
        (".".join(map(str, n.path)), value_text(n.value), n.evidence or "", n.source or "", n.note or "")
        for n in profile.numbers()
    ]
    columns = {"number": "name", "value": "number", "evidence": "name", "source": "name", "note": "text"}
    if rows:
        out.print(table("", columns, rows))
    for source in profile.sources:
        link = next(
            (f"{kind}:{v}" for kind, v in (("doi", source.doi), ("arXiv", source.arxiv)) if v), source.url or ""
        )
        out.print(f"{source.key}: {source.citation} {link}".rstrip())
    out.print(evidence_line(profile))
    missing = profile.not_simulated()
    if missing:
        out.print(f"not simulated yet: {', '.join(missing)}")


def evidence_line(profile: Profile) -> str:
    """How many of a profile's numbers are assumptions, and how the others are known."""
    counts = profile.evidence_summary().counts
    total, assumed = sum(counts.values()), counts.get("assumption", 0)
    if not total:
        return "evidence: no numbers"
    others = "".join(f", {count} {kind}" for kind, count in counts.items() if kind != "assumption")
    return f"evidence: {assumed} of {total} numbers are assumptions ({percent(assumed / total)} %){others}"


def difference_table(here: Profile, there: Profile, rows: Iterable[Difference]) -> Table:
    """A line for every difference: the place, both values, and how they are known (evidence and source)."""
    names = (here.name, there.name) if here.name != there.name else (f"{here.name} (1)", f"{there.name} (2)")
    columns = {"": "name", **dict.fromkeys(names, "text"), "how known": "text"}
    cells = ((row.path, value_text(row.here.value), value_text(row.there.value), _how_known(row)) for row in rows)
    return table(f"{here.name} -> {there.name}", columns, cells)


def _how_known(row: Difference) -> str:
    before, after = (" ".join(part for part in (side.evidence, side.source) if part) for side in (row.here, row.there))
    return before if before == after else f"{before or '-'} -> {after or '-'}"


def value_text(value: object) -> str:
    """A value of a profile as it is shown: lists with commas, nothing where there is none."""
    if isinstance(value, tuple):
        return ", ".join(value_text(item) for item in value)
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    return f"{value:.12g}" if isinstance(value, int | float) else str(value)
