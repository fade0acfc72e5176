"""HTTP as an attacker bends it: requests cut, spliced, flipped, and stuffed with what parsers trip over."""

from collections.abc import Sequence
from random import Random

TOKENS = (
    *(
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b":",
        b" ",
        b"\0",
        b"\t",
        b"\xe2",
        b"\xff\xfe",
        b"0",
        b"-1",
        b"99999999999",
    ),
    *(b",", b";", b"%", b"%00", b"/../", b"HTTP/", b'"', b"\\ud800", b"{" * 50, b"[" * 50, b"chunked"),
)


def mutate(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """Damage one seed, or a splice of two, in one to five places."""
    data = bytearray(rng.choice(seeds))
    if rng.random() < 0.2:
        other = rng.choice(seeds)
        data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]
    for _ in range(rng.randint(1, 5)):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice((0, 1, 1, 4, 16)))
        flipped = bytes(b ^ (1 << rng.randrange(8)) for b in data[start:end])
        token = rng.choice(TOKENS)
        data[start:end] = rng.choice((b"", flipped, token, bytes(data[start:end]) * rng.choice((2, 300))))
    return bytes(data)
