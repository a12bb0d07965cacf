"""What the tests of the methods write their equations with."""

import torch

from snnrobust.hardware import Profile
from snnrobust.hardware.mismatch import draw, place
from snnrobust.training import Problem, StepKey

KEY = StepKey(7, 4)


def leaves(params):
    return {name: p.detach().clone().requires_grad_() for name, p in params.items()}


def detached(net):
    return {name: p.detach() for name, p in net.nominal().items()}


def step(objective, net, batch, key=KEY):
    return objective.bind(Problem(net))(net.nominal(), batch, key)


def z_of(net, instances=None, *, purpose="train", key=KEY):
    """Coordinates of one step under relative mismatch, by parameter, with or without an instance axis."""
    placement = place(Profile.relative(0.5), net.parameter_specs())
    found = draw(placement, seed=key.seed, purpose=purpose, instances=instances, extra=(key.step,))
    return {name.removesuffix("/device"): value.double() for name, value in found.items()}


def loss_and_slope(net, params, batch):
    """Mean cross-entropy at parameters without an instance axis, and its gradient there."""
    at = leaves(params)
    loss = torch.nn.functional.cross_entropy(net.run(at, batch.x), batch.y)
    return loss.detach(), dict(zip(at, torch.autograd.grad(loss, list(at.values())), strict=True))


def mean(parts):
    """The mean over a list of tensors by name."""
    return {name: torch.stack([part[name] for part in parts]).mean(0) for name in parts[0]}


def close(found, expected, rtol=1e-9, atol=1e-12):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=rtol, atol=atol)


def kl(p_logits, q_logits):
    """KL(softmax p || softmax q), the mean over samples, from its definition."""
    p, q = p_logits.softmax(-1), q_logits.softmax(-1)
    return (p * (p.log() - q.log())).sum(-1).mean()
