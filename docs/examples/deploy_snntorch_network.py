"""A snntorch network that was trained elsewhere, deployed on simulated chips: roles by parameter name.

Only parameters vary: beta is a fixed number here and stays ideal, whereas the threshold is a parameter.
"""

import snntorch
import torch
from torch.func import functional_call

import snnrobust as sr

ROLES = {
    "hidden.weight": "weight",
    "hidden.bias": "bias",
    "lif.threshold": "v_th",
    "readout.weight": "weight",
    "readout.bias": "bias",
}


class Classifier(torch.nn.Module):
    """Your network; x is [steps, batch, inputs]."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.hidden, self.readout = torch.nn.Linear(inputs, hidden), torch.nn.Linear(hidden, outputs)
        self.lif = snntorch.Leaky(beta=0.9, threshold=torch.ones(hidden), learn_threshold=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        v, rate = self.lif.reset_mem(), 0.0
        for current in self.hidden(x):
            spikes, v = self.lif(current, v)
            rate = rate + spikes / len(x)
        return self.readout(rate)


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
    return sr.evaluate(deployment, task.test, label="snntorch")


if __name__ == "__main__":
    print(*main().summary(specification=0.9), sep="\n")
