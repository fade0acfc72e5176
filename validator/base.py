"""Verdicts, and the interface of whatever gives them.

Three outcomes, not two (the gossipsub lesson): a record that merely came late must not cost the peer
that relayed it, and a record that no honest node would relay must.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, runtime_checkable

from validator.record import Record


class Outcome(Enum):
    """What is to happen to a record and to whoever sent it."""

    ACCEPT = "accept"
    """Store it and pass it on."""
    IGNORE = "ignore"
    """Neither store nor relay it; the sender is not to blame."""
    REJECT = "reject"
    """Neither store nor relay it; no honest node would have sent it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One validator's answer.

    Attributes:
        outcome: what is to happen.
        code: str, stable slug for machines (`bad-signature`); empty for ACCEPT.
        reason: str, one sentence for people that names the bad value; empty for ACCEPT.
    """

    outcome: Outcome
    code: str = ""
    reason: str = ""


ACCEPT = Verdict(Outcome.ACCEPT)

Signer = Callable[[str, str], str | Verdict]
"""Makes the signature for (id, raw) where a client brought none, or says why this node cannot. Raises
ValueError where a text has no UTF-8 form."""


def cannot_sign(id: str, raw: str) -> Verdict:
    """Sign nothing: the `Signer` of a chain in which no validator asks for a signature."""
    return Verdict(Outcome.REJECT, "unsigned", "signature is missing, and this node makes none")


class Validator(Protocol):
    """Judge records. Must be pure: the same record and time give the same verdict on every node.

    To add one: a class with these two members in a file of its own here, a line in `default_chain`,
    and a line in tests/contracts/test_validator_contract.py. One that judges signatures has a third: see
    `SignatureValidator`.
    """

    @property
    def name(self) -> str:
        """Short name, told to peers in the handshake: nodes with different chains do not link."""
        ...

    def check(self, record: Record, wall_ms: int) -> Verdict:
        """Judge `record` at `wall_ms` (int, Unix milliseconds). Never raises."""
        ...


@runtime_checkable
class ManyValidator(Validator, Protocol):
    """A validator that can also look at many records at once; any other is asked one by one."""

    def all_pass(self, records: Sequence[Record], wall_ms: int) -> bool:
        """Say whether `check` accepts every one of `records`; False may also mean: ask `check`."""
        ...


class SignatureValidator(Validator, Protocol):
    """Judge the signature. One of these ends every node's chain; which one is a setting.

    A record without a signature is no record: the name tells rules and keys apart (with a fingerprint that
    gives no secret away), so that nodes of other keys do not link.
    """

    def sign(self, id: str, raw: str) -> str | Verdict:
        """Make what `check` accepts, or say why this node cannot; a `Signer`."""
        ...


class ValidatorChain:
    """Ask validators in order and stop at the first objection. Put cheap ones first.

    Args:
        sign: makes the signature of a record that a client posts without one.
    """

    def __init__(self, validators: Sequence[Validator], sign: Signer = cannot_sign) -> None:
        self.sign = sign
        self._validators = tuple(validators)
        self._checks = tuple(v.check for v in validators)
        self._all_pass = tuple(v.all_pass for v in validators if isinstance(v, ManyValidator))
        self._others = tuple(v.check for v in validators if not isinstance(v, ManyValidator))

    @property
    def name(self) -> str:
        """The names of all validators, joined by `+`."""
        return "+".join(v.name for v in self._validators)

    def check(self, record: Record, wall_ms: int) -> Verdict:
        """Return the first verdict that is not ACCEPT, or ACCEPT."""
        return _first_objection(self._checks, record, wall_ms)

    def check_many(self, records: Sequence[Record], wall_ms: int) -> list[Verdict]:
        """Return what `check` says of each of `records`.

        Nearly always all pass, and a validator that looks at all at once needs no call for each: 0.6 in
        place of 1.0 µs a record (MD5, measured). If one does not pass, each is asked for by itself.
        """
        many = len(records) > 1  # a single one is asked for by itself: half the time
        if many and all(all_pass(records, wall_ms) for all_pass in self._all_pass):
            checks = self._others
        else:
            checks = self._checks
        if not checks:
            return [ACCEPT] * len(records)
        return [_first_objection(checks, record, wall_ms) for record in records]


def _first_objection(
    checks: Sequence[Callable[[Record, int], Verdict]], record: Record, wall_ms: int
) -> Verdict:
    for check in checks:
        verdict = check(record, wall_ms)
        if verdict is not ACCEPT and verdict.outcome is not Outcome.ACCEPT:
            return verdict
    return ACCEPT
