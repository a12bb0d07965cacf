"""The networks of Büchel, Faber and Muir (ICLR 2022, arXiv:2106.05009, supplement): their LSNN and their CNN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, pad

from snnrobust.errors import ConfigError, ShapeError
from snnrobust.snn.layers import ALIF
from snnrobust.snn.network import Network
from snnrobust.snn.readouts import MeanRate
from snnrobust.snn.surrogates import Surrogate

SIDE, CHANNELS, KERNEL = 28, 64, 4
MOST_CLASSES = 10_000
TRUNCATED = 0.87962566103423978
"""Standard deviation of N(0, 1) truncated at -2 and 2."""


def paper_lsnn(inputs: int, outputs: int, *, hidden: int = 256, dt: float = 1e-3, seed: int = 0) -> Network:
    """The paper's recurrent network with adaptive thresholds, on speech and ECG.

    All neurons adapt: tau_mem 20 dt, tau_adapt 98 dt, v_th 0.01, adaptation 2, one dead step after a spike, no synapse,
    no bias and no connection to themselves; attached soft reset; the triangle surrogate with dampening 0.3 in units of
    the threshold. Its readout is of the mean rates. Initial weights, n a standard normal cut off at +-2 and N the same
    scaled to the variance 1:

        weight ~ N sqrt(2 / (inputs + hidden)),   recurrent_weight ~ N / sqrt(hidden),   readout weight ~ 0.01 n

    The paper trains it with Adam at 1e-3, then 1e-4, and the penalty `FiringRate()`. It has 256 hidden neurons; time
    constants are in its steps, so that they go with dt. The hidden bias that this package's layers have is 0 and not
    trained.

    Args:
        inputs: Number of inputs I.
        outputs: Number of outputs O.
        hidden: Number of neurons.
        dt: Time step in s.
        seed: Seed of the initial weights.
    """
    layer = ALIF(
        inputs,
        hidden,
        True,
        dt=dt,
        tau_mem=20 * dt,
        tau_adapt=98 * dt,
        v_th=0.01,
        adaptation=2.0,
        refractory=dt,
        reset="soft",
        detach_reset=False,
        surrogate=Surrogate(shape="triangle", slope=1.0, dampening=0.3, scale="threshold"),
        self_connections=False,
    )
    net = Network([layer, MeanRate(hidden, outputs)])
    generator = torch.Generator().manual_seed(seed)
    sizes = {
        "layer0.weight": math.sqrt(2 / (inputs + hidden)) / TRUNCATED,
        "layer0.recurrent_weight": math.sqrt(1 / hidden) / TRUNCATED,
        "readout.weight": 0.01,
    }
    with torch.no_grad():
        for name, size in sizes.items():
            p = net.get_parameter(name)
            p.copy_(size * nn.init.trunc_normal_(torch.empty_like(p), a=-2.0, b=2.0, generator=generator))
        net.get_parameter("layer0.recurrent_weight").fill_diagonal_(0)
    net.get_parameter("layer0.bias").requires_grad_(False)
    return net


class PaperCNN(nn.Module):
    """The paper's convolutional network, on Fashion-MNIST; 493,642 parameters for 10 classes.

    4x4 convolution to 64 channels (same size), ReLU, maximum over 2x2; 4x4 convolution to 64 channels (valid), ReLU,
    maximum over 2x2; dense layers 1600-256-64-classes with ReLU. Glorot normal weights, biases 0. The paper trains it
    with Adam at 1e-4, then 1e-5.

    x [T, B, I] are images [28, B, 28], a row a step, as task `fashion_mnist` has them.

    Args:
        classes: Number of outputs.
        batch_statistics: Standardise the images over the batch, and the last hidden layer over it, neuron by neuron,
            in use as in training. So does the paper. It centres again what mismatch has shifted, and the answer to a
            sample depends on the others in its batch; a chip can do neither.
        seed: Seed of the initial weights.

    Raises:
        ConfigError: If there are fewer than 2 classes, or too many.
    """

    SOURCES: ClassVar[Mapping[str, str]] = {
        "dense1.weight": "conv2",
        "dense2.weight": "dense1",
        "dense3.weight": "dense2",
    }
    """Where the inputs of the dense layers come from: they are what the paper's dropout silences."""

    def __init__(self, classes: int = 10, *, batch_statistics: bool = False, seed: int = 0) -> None:
        super().__init__()
        if not 2 <= classes <= MOST_CLASSES:
            raise ConfigError(f"classes: {classes} must be 2 to {MOST_CLASSES:,}")
        self.classes, self.batch_statistics = classes, batch_statistics
        left = ((SIDE // 2 - KERNEL + 1) // 2) ** 2 * CHANNELS
        blank: Any = nn.utils.skip_init  # initial values come from the seed alone
        self.conv1 = blank(nn.Conv2d, 1, CHANNELS, KERNEL)
        self.conv2 = blank(nn.Conv2d, CHANNELS, CHANNELS, KERNEL)
        self.dense1 = blank(nn.Linear, left, 256)
        self.dense2 = blank(nn.Linear, 256, 64)
        self.dense3 = blank(nn.Linear, 64, classes)
        generator = torch.Generator().manual_seed(seed)
        for name, p in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(p)
            else:
                nn.init.xavier_normal_(p, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] of images [28, B, 28].

        Raises:
            ShapeError: For images of another size.
        """
        if x.ndim != 3 or (x.shape[0], x.shape[2]) != (SIDE, SIDE):
            raise ShapeError(f"x: shape {tuple(x.shape)} must be [{SIDE}, B, {SIDE}], a row of an image a step")
        h = x.transpose(0, 1).unsqueeze(1)
        if self.batch_statistics:
            h = standardised(h, (0, 2, 3))
        h = max_pool2d(self.conv1(pad(h, (2, 1, 2, 1))).relu(), 2)
        h = max_pool2d(self.conv2(h).relu(), 2).flatten(1)
        h = self.dense2(self.dense1(h).relu()).relu()
        if self.batch_statistics:
            h = standardised(h, (0,))
        logits: Tensor = self.dense3(h)
        return logits

    def options(self) -> dict[str, Any]:
        """What makes the same module again, but for its values."""
        return {"classes": self.classes, "batch_statistics": self.batch_statistics}


def standardised(h: Tensor, axes: tuple[int, ...]) -> Tensor:
    """(h - mean) / sqrt(variance + 1e-5) over these axes."""
    return (h - h.mean(axes, keepdim=True)) * (h.var(axes, correction=0, keepdim=True) + 1e-5).rsqrt()


MODULES: dict[str, type[PaperCNN]] = {"PaperCNN": PaperCNN}
"""Modules of this package by name: a run file gives them back without the user's help."""
