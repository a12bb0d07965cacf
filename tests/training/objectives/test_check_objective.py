"""The shared suite finds what it is there for."""

import math
from dataclasses import dataclass

import pytest
import torch

from snnrobust.testing import check_objective
from snnrobust.training import ForwardNoise, Standard


@dataclass(frozen=True, kw_only=True)
class Spoiled(Standard):
    """The standard objective with one property broken."""

    name = "spoiled"
    how: str = ""

    @property
    def passes(self):
        return 2 if self.how == "passes" else 1

    def bind(self, problem):
        inner = super().bind(problem)

        def loss_and_grad(params, batch, key):
            result = inner(params, batch, key)
            grads = dict(result.grads)
            if self.how == "global noise":
                with torch.random.fork_rng():
                    return result._replace(loss=result.loss + float(torch.rand(())))
            if self.how == "generator":
                torch.rand(())
            if self.how == "parameter":
                params["layer0.weight"].data += 1
            if self.how == "missing":
                grads.pop("layer0.weight")
            if self.how == "nan":
                grads["layer0.weight"] = torch.full_like(grads["layer0.weight"], math.nan)
            if self.how == "zero":
                grads = {name: torch.zeros_like(g) for name, g in grads.items()}
            return result._replace(grads=grads)

        return loss_and_grad


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("passes", "passes: 2 declared, 1 taken"),
        ("global noise", "the same parameters, batch and key must give the same step"),
        ("generator", "a step changes parameters, gradients, modes or torch's generator"),
        ("parameter", "a step changes parameters"),
        ("missing", "grads: must be those of"),
        ("nan", r"gradient of layer0\.weight: must be finite"),
        ("zero", "grads: are zero everywhere"),
    ],
)
def test_a_broken_property_is_named(how, said):
    with torch.random.fork_rng(), pytest.raises(AssertionError, match=said):
        check_objective(Spoiled(how=how))


def test_a_whole_one_passes():
    check_objective(Spoiled())


def test_choices_that_a_file_does_not_give_back_are_found(monkeypatch):
    plain = ForwardNoise(level=0.2).to_dict()
    monkeypatch.setattr(ForwardNoise, "to_dict", lambda self: {**plain, "level": 0.3})
    with pytest.raises(AssertionError, match="to_dict: a run file must give the objective back"):
        check_objective(ForwardNoise(level=0.2))
