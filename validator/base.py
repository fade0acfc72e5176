"""Verdicts, and the interface of whatever gives them.

Three outcomes, not two (the gossipsub lesson): a record that merely came late must not cost the peer
that relayed it, and a record that no honest node would relay must.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

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


class Validator(Protocol):
    """Judge records. Must be pure: the same record and time give the same verdict on every node.

    To add one: a class with these two members in a file of its own here, a line in `default_chain`,
    and a line in tests/contracts/test_validator_contract.py.
    """

    @property
    def name(self) -> str:
        """Short name, told to peers in the handshake: nodes with different chains do not link."""
        ...

    def check(self, record: Record, wall_ms: int) -> Verdict:
        """Judge `record` at `wall_ms` (int, Unix milliseconds). Never raises."""
        ...


class ValidatorChain:
    """Ask validators in order and stop at the first objection. Put cheap ones first."""

    def __init__(self, validators: Sequence[Validator]) -> None:
        self._validators = tuple(validators)
        self._checks = tuple(v.check for v in validators)

    @property
    def name(self) -> str:
        """The names of all validators, joined by `+`."""
        return "+".join(v.name for v in self._validators)

    def check(self, record: Record, wall_ms: int) -> Verdict:
        """Return the first verdict that is not ACCEPT, or ACCEPT."""
        for check in self._checks:
            verdict = check(record, wall_ms)
            if verdict is not ACCEPT and verdict.outcome is not Outcome.ACCEPT:
                return verdict
        return ACCEPT
