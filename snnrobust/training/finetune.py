"""In-the-loop calibration: what a lab can write on each chip is trained on what this chip answers.

    answer   logits and spikes of the chip: what was written is stored in its precision, an array is programmed anew
    L        task loss of the chip's logits
    g        dL / d written, through the nominal network at what is stored, each layer fed with the chip's own spikes
    write    what Adam makes of g, and measure again

Forward on the chip and backward in a model of it is how BrainScaleS-2 is trained (Cramer et al. 2022,
doi:10.1073/pnas.2109194119). Of a chip only answers and spikes are used, never its deviations. Every pass over data is
a trial of its own, before trial 0; chips are independent of each other, so a chip's result is the same in any block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from snnrobust.errors import ConfigError
from snnrobust.hardware.deployment import Deployment
from snnrobust.hardware.model import Deployable, check_deployable
from snnrobust.progress import Progress, progress
from snnrobust.snn.network import Network, Recording
from snnrobust.tasks import Task
from snnrobust.training.bench import Bench, Part
from snnrobust.training.data import batch_count, batches, class_weights, precision, to_batch
from snnrobust.training.problem import Batch, Outputs, Params, Problem
from snnrobust.training.trainer import check_fits
from snnrobust.training.tuning import Cost, Tuning

BLOCK_BYTES = 128_000_000
"""Memory that the spikes of one block of chips and what goes back through them may take."""
MOST_CHIPS = 32
_COPIES = 6  # of spikes and potentials, forward and backward
_BATCH = 256


@dataclass(frozen=True)
class Finetuned:
    """Chips after calibration in the loop.

    Attributes:
        deployment: The same chips with what was written last, for `evaluate`.
        parameters: What was written, [K, *nominal shape] by name.
        writes: How often it was written before; `Chip.deploy` takes both.
        kept: Epoch of each chip whose parameters were kept [K], 0 for those before calibration.
        history: By name: the loss of each epoch [epochs, K], validation scores [epochs + 1, K].
        cost: What it cost on each chip.
    """

    deployment: Deployment
    parameters: Mapping[str, Tensor] = field(repr=False)
    writes: int
    kept: Tensor = field(repr=False)
    history: Mapping[str, Tensor] = field(repr=False)
    cost: Cost


def finetune(
    deployment: Deployment,
    task: Task,
    *,
    chips: range | None = None,
    show_progress: bool = True,
    **choices: Any,  # noqa: ANN401 (fields of Tuning)
) -> Finetuned:
    """Calibrate every chip of a deployment in the loop, each by itself.

    Of the states after every epoch, and the one before the first, each chip keeps the best on the validation data (of
    equal scores that of the smaller loss), or the last where the task has none. It is written once more at the end, so
    that an array is programmed anew.

    Args:
        deployment: A network on sampled chips.
        task: Data; the test data is not used.
        chips: Which chips; all by default.
        show_progress: Show progress on the standard error stream.
        **choices: Fields of `Tuning`: knobs, epochs, batch_size, learning_rate, clip_norm, samples, backward, seed.

    Raises:
        ConfigError: For a choice outside its domain, or chips that the deployment does not have.
        ShapeError: If the network does not fit the task.
    """
    tuning = Tuning(**choices)
    check_deployable(deployment.net)
    names = tuning.names(deployment.net)
    check_fits(deployment.net, task)
    there = deployment.chips
    whole = there if chips is None else chips
    if whole.step != 1 or not len(whole) or whole.start < there.start or whole.stop > there.stop:
        raise ConfigError(f"chips: {whole} must be a part of {there}")
    if not names:
        return Finetuned(deployment, {}, 0, torch.zeros(len(whole), dtype=torch.long), {}, Cost())
    size = block_size(deployment.net, task, tuning)
    blocks = [range(start, min(start + size, whole.stop)) for start in range(whole.start, whole.stop, size)]
    with progress("calibrate in the loop", len(whole) * tuning.epochs, show=show_progress) as shown:
        found = [_Loop(Bench(deployment, block, names), task, tuning).run(shown) for block in blocks]
    parameters = {name: torch.cat([own.parameters[name] for own in found]) for name in found[0].parameters}
    history = {name: torch.cat([own.history[name] for own in found], 1) for name in found[0].history}
    cost = tuning.cost(task, deployment.step)
    writes = deployment.writes + cost.writes
    written = deployment.written(parameters, writes=writes, first=whole.start)
    return Finetuned(written, parameters, writes, torch.cat([own.kept for own in found]), history, cost)


def block_size(net: Deployable, task: Task, tuning: Tuning) -> int:
    """Chips in a block, from the memory that their spikes take."""
    samples = max(tuning.settings.samples_an_update(len(task.train)), 1)
    wide = sum({spec.layer: spec.shape[0] for spec in net.parameter_specs().values() if spec.shape}.values())
    one = _COPIES * 4 * task.train.x.shape[1] * samples * wide
    return int(max(1, min(MOST_CHIPS, BLOCK_BYTES // max(1, one))))


class _Tuned(NamedTuple):
    """What a block of chips gives; the fields are those of `Finetuned`."""

    parameters: dict[str, Tensor]
    kept: Tensor
    history: dict[str, Tensor]


class _Check(NamedTuple):
    """Score and loss of each chip [K] on the validation data."""

    score: Tensor
    loss: Tensor


class _Loop:
    """Chips on a bench, from their first measurement to what each of them keeps."""

    def __init__(self, bench: Bench, task: Task, tuning: Tuning) -> None:
        self.bench, self.task, self.tuning = bench, task, tuning
        self.problem = Problem(bench.deployment.net, class_weights(task))
        self.train = tuning.measured(task.train)
        self.values = {name: p.clone().requires_grad_(name in bench.knobs) for name, p in bench.start.items()}
        self.leaves = [self.values[name] for name in bench.knobs]
        self.optimiser = torch.optim.Adam(self.leaves, lr=tuning.learning_rate)
        self.writes, self.trial = bench.deployment.writes, 0

    def run(self, shown: Progress) -> _Tuned:
        """All epochs."""
        best, losses, scores = self.check(), [], []
        kept, epochs = self.snapshot(), torch.zeros(len(self.bench.chips), dtype=torch.long)
        scores.append(best.score)
        for epoch in range(self.tuning.epochs):
            losses.append(self.epoch(epoch))
            now = self.check()
            scores.append(now.score)
            better = (now.score > best.score) | ((now.score == best.score) & (now.loss < best.loss))
            better |= torch.full_like(better, self.task.validation is None)
            best = _Check(*(torch.where(better, new, old) for new, old in zip(now, best, strict=True)))
            kept = {name: torch.where(_like(better, p), p, kept[name]) for name, p in self.snapshot().items()}
            epochs = torch.where(better, epoch + 1, epochs)
            shown.advance(len(self.bench.chips), note=f"mean loss {losses[-1].mean():.4f}")
        return _Tuned(kept, epochs, {"loss": torch.stack(losses), "validation": torch.stack(scores)})

    def snapshot(self) -> dict[str, Tensor]:
        """What is written now."""
        return {name: p.detach().clone() for name, p in self.values.items()}

    def epoch(self, number: int) -> Tensor:
        """One pass over the training samples, a write after each batch; the mean loss of each chip [K]."""
        self.trial -= 1
        settings, parts = self.tuning.settings, self.bench.deployment.parts
        size = settings.samples_an_update(len(self.train))
        count, first, here, losses = batch_count(self.train, size), 0, None, []
        dtype = precision(self.bench.deployment.theta)
        for n, batch in enumerate(batches(self.train, size, seed=self.tuning.seed, epoch=number, dtype=dtype)):
            part = n * parts // count
            here = here if here is not None and here.part == part else self.bench.part(self.trial, part)
            rate = settings.rate_at((number + n / count) / settings.epochs)
            losses.append(self.update(batch, here, first, rate))
            first += len(batch.y)
        return sum(losses[1:], losses[0]) / len(losses)  # chip by chip, so in one order

    def update(self, batch: Batch, here: Part, first_sample: int, rate: float) -> Tensor:
        """Measure, go back through the model, write; the loss of each chip [K]."""
        written = self.bench.write(self.values, self.writes)
        seen = self.bench.answer(written, batch, here, first_sample)
        model = self.bench.model(written, measured=self.tuning.backward == "measured")
        losses = self.problem.loss(Outputs(_followed(written.net, model, batch, seen), {}), batch.y)
        found = torch.autograd.grad(losses.sum(), self.leaves, materialize_grads=True)
        for leaf, gradient in zip(self.leaves, _clipped(found, self.tuning.clip_norm), strict=True):
            leaf.grad = gradient
        self.optimiser.param_groups[0]["lr"] = rate
        self.optimiser.step()
        self.writes += 1
        return losses.detach()

    def check(self) -> _Check:
        """Score and loss of each chip on the validation data; NaN without."""
        self.trial -= 1
        data, chips = self.task.validation, len(self.bench.chips)
        if data is None:
            return _Check(torch.full((chips,), torch.nan), torch.full((chips,), torch.nan))
        with torch.no_grad():
            written = self.bench.write(self.values, self.writes)
        right, loss = torch.zeros(chips, len(data)), torch.zeros(chips)
        parts, dtype = written.parts, precision(written.theta)
        for n in range(parts):
            here, ends = self.bench.part(self.trial, n), (len(data) * n // parts, len(data) * (n + 1) // parts)
            for start in range(*ends, _BATCH):
                rows = slice(start, min(start + _BATCH, ends[1]))
                batch = to_batch(data, rows, dtype)
                logits = self.bench.answer(written, batch, here, start, spikes=False).logits
                right[:, rows] = (logits.argmax(-1) == batch.y).float()
                loss += self.problem.cross_entropy(logits, batch.y) * len(batch.y) / len(data)
        if self.task.metric == "accuracy":
            return _Check(right.mean(1), loss)
        return _Check(torch.stack([right[:, data.y == c].mean(1) for c in np.unique(data.y)]).mean(0), loss)


def _followed(net: Deployable, params: Params, batch: Batch, seen: Recording) -> Tensor:
    """The logits that were seen, with the derivative of these parameters."""
    if isinstance(net, Network):
        return net.follow(params, batch.x, seen, batch.lengths)
    logits = net.run(params, batch.x, batch.lengths)
    return seen.logits + (logits - logits.detach())


def _clipped(grads: Sequence[Tensor], limit: float | None) -> list[Tensor]:
    """Gradients [K, ...] of chips, each chip's cut to a norm; a chip whose gradient is not finite stands still.

    The norm is taken chip by chip: a sum over several at once has another order, and so other last bits.
    """
    norms = torch.stack(
        [torch.stack([torch.linalg.vector_norm(g[k]) for g in grads]).norm() for k in range(len(grads[0]))]
    )
    scale = torch.ones_like(norms) if limit is None else (limit / norms.clamp_min(1e-30)).clamp(max=1)
    return [torch.where(_like(norms.isfinite(), g), g * _like(scale, g), 0) for g in grads]


def _like(of_chips: Tensor, p: Tensor) -> Tensor:
    """A value of each chip [K] with the axes of a parameter [K, ...]."""
    return of_chips.reshape(-1, *(1,) * (p.ndim - 1))
