"""One node of a demo: how to start it, its process, its last answer. `demo_nodes` starts and ends it."""

import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import msgspec

from node.demo_story import NodeView, State

ROOT = Path(__file__).resolve().parent.parent
LOOPBACK = "127.0.0.1"


class Answer(msgspec.Struct, frozen=True):
    """What of `/v1/node` a demo shows."""

    name: str
    cluster: str
    ready: bool
    peers_up: int
    in_sync: bool
    records: int
    admission: dict[str, int]

    @property
    def arrived(self) -> int:
        """How many records the node has taken in since its start."""
        return self.admission.get("accepted", 0) + self.admission.get("relayed", 0)


@dataclass(slots=True)
class DemoNode:
    """One node: how to start it, its process, and its last answer.

    Attributes:
        arguments: of `dayfly up`; they make a node that was started again the same node.
        command: the same as a line for a shell, to start it by hand.
        log: where its process writes.
        alive: whether our process was last seen to run (or to be stopped, which is not the end of it).
        life: counts starts and deaths, so that an answer is not taken for another life's.
        ever_up, answered: whether it has answered ever, and in this life.
        arrived_s: when it was last seen to have taken in a record, in monotonic seconds.
    """

    name: str
    cluster: str
    http_port: int
    peer_port: int
    arguments: tuple[str, ...]
    command: str
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    answer: Answer | None = None
    arrived_s: float | None = None
    alive: bool = False
    life: int = 0
    ever_up: bool = False
    answered: bool = False

    @property
    def state(self) -> State:
        """What the process and the last answer say together."""
        if self.answer is not None:
            up = State.UP if self.answer.ready else State.CATCHING_UP
            return up if self.alive else State.BY_HAND
        if self.alive:
            return State.SILENT if self.answered else State.STARTING
        if self.process is None:
            return State.STARTING
        return State.STOPPED if self.process.returncode == 0 else State.DEAD

    def take(self, answer: Answer | None, now_s: float) -> None:
        """Note an answer (None: there was none). One of somebody else on our port is none."""
        if answer is not None and (answer.name, answer.cluster) != (self.name, self.cluster):
            answer = None
        if answer is not None:
            before = 0 if self.answer is None else self.answer.arrived
            if answer.arrived != before:
                self.arrived_s = now_s
            self.ever_up = self.answered = True
        self.answer = answer

    def forget(self) -> None:
        """A life begins or ends: what the node said before counts no more."""
        self.life += 1
        self.answer = self.arrived_s = None
        self.answered = False

    def view(self, now_s: float) -> NodeView:
        """Show the node as it is now (monotonic seconds)."""
        said = self.answer
        return NodeView(
            name=self.name,
            http_port=self.http_port,
            pid=self.process.pid if self.process is not None and self.alive else None,
            state=self.state,
            command=self.command,
            reason=_reason(None if self.process is None else self.process.returncode),
            peers=None if said is None else said.peers_up,
            records=None if said is None else said.records,
            in_sync=None if said is None else said.in_sync,
            last_s=None if self.arrived_s is None else now_s - self.arrived_s,
        )

    def log_tail(self, lines: int = 12) -> str:
        """Return the last lines its process wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def _reason(returncode: int | None) -> str:
    """Word how a process ended."""
    if returncode is None:
        return ""
    return signal.Signals(-returncode).name if returncode < 0 else f"exit code {returncode}"
