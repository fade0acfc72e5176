"""A fingerprint tells sets apart that cheaper ways to combine ids take for equal."""

from random import Random

from cluster.negentropy import Negentropy, SortedItems


def test_differences_that_cancel_under_exclusive_or_are_found() -> None:
    """Here `a` and `a ^ x`, there `b` and `b ^ x`: both pairs come to `x`, and are four differences."""
    rng = Random(1)
    a, b, x = (rng.getrandbits(256) for _ in range(3))
    common = [rng.randbytes(40) for _ in range(100)]
    ours, theirs = (
        [id.to_bytes(8, "big") + number.to_bytes(32, "little") for id, number in enumerate(pair)]
        for pair in ((a, a ^ x), (b, b ^ x))
    )
    client = Negentropy(SortedItems(common + ours))
    server = Negentropy(SortedItems(common + theirs))
    message: bytes | None = client.probe()
    have, need = set[bytes](), set[bytes]()
    while message is not None:
        step = client.reconcile(server.respond(message))
        have |= set(step.have)
        need |= set(step.need)
        message = step.message

    assert have == set(ours)
    assert need == {key[8:] for key in theirs}
