"""Your own arrays: make a task of them, train on it, deploy the result on simulated chips."""

import numpy as np

import snnrobust as sr


def main(samples: int = 300, epochs: int = 20, chips: int = 50) -> "sr.Tolerance":
    # Your data: x [samples, steps, inputs] of order 1, labels 0 .. C-1, and which part of the split each is in.
    rng = np.random.default_rng(0)
    y = np.arange(samples) % 3
    x = rng.normal(size=(samples, 40, 6)) + 0.5 * np.eye(3)[y].repeat(2, axis=1)[:, None, :]
    split = rng.choice(["train", "test"], size=samples, p=[0.7, 0.3])

    task = sr.Task.from_arrays(x, y, split, dt=1e-3, name="channels", classes=["low", "middle", "high"])
    net = sr.Network.recurrent(task.inputs, 40, len(task.classes), dt=task.dt)
    noise = sr.objectives.ForwardNoise(level=0.3)
    sr.train(net, task, noise, epochs=epochs, batch_size=20, learning_rate=0.01, show_progress=False)
    deployment = sr.Chip(sr.load_profile("dynapse1")).deploy(net, instances=chips)
    return sr.evaluate(deployment, task.test, label="own data")


if __name__ == "__main__":
    print(*main().summary(specification=0.9), sep="\n")
