"""Texts with random mistakes, for tests that every mistake is one line."""

from __future__ import annotations

import random

VALUES = [
    "",
    "0",
    "-1",
    "20",
    "1e999",
    ".nan",
    "null",
    "[]",
    "{}",
    "[1, [2]]",
    "{a: 1}",
    "yes",
    "'x'",
    "*a",
    "&a b",
    "!t x",
]


def mutate(text: str, rng: random.Random) -> bytes:
    """One to four random edits: bytes, whole lines, values, keys, indentation."""
    data = text
    for _ in range(rng.randint(1, 4)):
        lines = data.split("\n")
        i = rng.randrange(len(lines))
        kind = rng.randrange(7)
        if kind == 0:
            at = rng.randrange(len(data) + 1)
            data = data[:at] + chr(rng.choice([0, 9, 10, 32, 58, 91, 123, 125, 133, 0x2028, 0x1F600])) + data[at:]
        elif kind == 1:
            at = rng.randrange(len(data) + 1)
            data = data[:at] + data[at + rng.randint(1, 20) :]
        elif kind == 2:
            data = "\n".join(lines[:i] + lines[i + 1 :])
        elif kind == 3:
            data = "\n".join([*lines[:i], lines[rng.randrange(len(lines))], *lines[i:]])
        elif kind == 4 and ": " in lines[i]:
            lines[i] = lines[i].split(": ")[0] + ": " + rng.choice(VALUES)
            data = "\n".join(lines)
        elif kind == 5:
            lines[i] = " " * rng.randint(0, 8) + lines[i].lstrip()
            data = "\n".join(lines)
        else:
            words = data.split(" ")
            j, k = rng.randrange(len(words)), rng.randrange(len(words))
            words[j], words[k] = words[k], words[j]
            data = " ".join(words)
    raw = bytearray(data.encode())
    if raw and rng.random() < 0.1:
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    return bytes(raw)
