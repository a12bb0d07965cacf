"""A norse network that was trained elsewhere, deployed on simulated chips: roles by parameter name.

Only parameters vary: norse's time constants and thresholds are fixed numbers and stay ideal here. Build the same
network from snnrobust's LIF to vary them, too.
"""

import norse.torch as norse
import torch
from torch.func import functional_call

import snnrobust as sr

ROLES = {
    "lif.input_weights": "weight",
    "lif.recurrent_weights": "recurrent_weight",
    "readout.weight": "weight",
    "readout.bias": "bias",
}


class Classifier(torch.nn.Module):
    """Your network; x is [steps, batch, inputs]."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.lif, self.readout = norse.LIFRecurrent(inputs, hidden, dt=0.01), torch.nn.Linear(hidden, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.readout(self.lif(x)[0].mean(0))


def train_elsewhere(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, steps: int) -> None:
    """Stands for your own training, or for load_state_dict."""
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimiser.step()


def main(hidden: int = 100, steps: int = 150, chips: int = 50) -> "sr.Tolerance":
    task = sr.load_task("vowels")
    net = Classifier(task.inputs, hidden, len(task.classes))
    train_elsewhere(net, torch.from_numpy(task.train.x).transpose(0, 1), torch.from_numpy(task.train.y), steps)

    model = sr.Model(lambda params, x: functional_call(net, params, (x,)), dict(net.named_parameters()), ROLES)
    deployment = sr.Chip(sr.load_profile("dynapse1")).deploy(model, instances=chips)
    print("\n".join(deployment.notes))
    return sr.evaluate(deployment, task.test, label="norse")


if __name__ == "__main__":
    print(*main().summary(specification=0.9), sep="\n")
