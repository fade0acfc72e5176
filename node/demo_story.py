"""What a demo tells: observations of its nodes in, events and things to try out. Pure.

An event is one line for people and one object for programs, made once, so that both tell the same.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from node.version import VERSION

DEMO = "demo"
"""Who speaks when it is no node."""


class State(Enum):
    """How a node is."""

    STARTING = "starting"
    CATCHING_UP = "catching up"
    UP = "up"
    BY_HAND = "up (by hand)"
    SILENT = "silent"
    """It runs and does not answer; stopped, for example."""
    DEAD = "dead"
    STOPPED = "stopped"
    """It ended because it was asked to."""

    @property
    def gone(self) -> bool:
        """Whether it could be started again."""
        return self in (State.DEAD, State.STOPPED)

    @property
    def answers(self) -> bool:
        """Whether a client can talk to it."""
        return self in (State.CATCHING_UP, State.UP, State.BY_HAND)


@dataclass(frozen=True, slots=True)
class NodeView:
    """One observation of a node; None where it is not known.

    Attributes:
        command: a shell line that starts it again. reason: how its last process ended; empty while it runs.
        peers: how many it is linked with. records: how many it holds.
        last_s: seconds since it was last seen to have taken in a record.
    """

    name: str
    http_port: int
    pid: int | None
    state: State
    command: str
    reason: str = ""
    peers: int | None = None
    records: int | None = None
    in_sync: bool | None = None
    last_s: float | None = None

    @property
    def url(self) -> str:
        """Its HTTP address."""
        return f"http://127.0.0.1:{self.http_port}"


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth a line: who, what, in words (one or more lines), and in fields."""

    node: str
    event: str
    text: str
    fields: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class Plan:
    """What all nodes of a demo share, for showing.

    Attributes:
        ttl: as the user wrote it. command: the words that start `dayfly`. logs: a folder.
        links: how they are secured. skipped: HTTP ports that were taken.
    """

    count: int
    ttl: str
    cluster: str
    command: tuple[str, ...]
    logs: Path
    links: str = "open"
    skipped: tuple[int, ...] = ()

    @property
    def headline(self) -> str:
        """The one line above everything."""
        nodes = "1 node" if self.count == 1 else f"{self.count} nodes"
        return (
            f"dayfly {VERSION}  {nodes} \N{MIDDLE DOT} loopback only \N{MIDDLE DOT} records live {self.ttl}"
        )

    def opening(self) -> list[Event]:
        """Say what is about to run and where it writes."""
        fields: dict[str, object] = {
            "version": VERSION,
            "nodes": self.count,
            "cluster": self.cluster,
            "ttl": self.ttl,
            "links": self.links,
            "logs": str(self.logs),
        }
        skipped = [Event(DEMO, "skipped", f"port {p} is taken; skipped", {"port": p}) for p in self.skipped]
        text = f"{self.headline}   Ctrl-C stops all\nlogs in {self.logs}\nlinks {self.links}"
        return [Event(DEMO, "start", text, fields), *skipped]

    def tries(self, views: Sequence[NodeView]) -> list[str]:
        """Return lines to copy: post to the first node, read from the last."""
        first, last = views[0], views[-1]
        words = [*self.command, "post", "hello", "--node", first.url]
        return [
            f"curl -d hello {first.url}/v1/records",
            f"curl {last.url}/v1/records",
            shlex.join(words if first.http_port != 8080 else words[:-2]),
        ]


class Story:
    """Turns one observation after the other into events: only what changed is told."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._before: dict[str, NodeView] = {}
        self._told: dict[str, tuple[object, ...]] = {}
        self.all_ready = False

    def tell(self, views: Sequence[NodeView]) -> list[Event]:
        """Return what has happened since the last call."""
        events: list[Event] = []
        for view in views:
            before = self._before.get(view.name)
            events += self._turn(before, view)
            if view.state.answers:
                events += self._status(view)
            self._before[view.name] = view
        if not self.all_ready and all(self._complete(v) for v in views):
            self.all_ready = True
            events += self._ready(views)
        return events

    def _complete(self, view: NodeView) -> bool:
        ready = view.state in (State.UP, State.BY_HAND)
        return ready and view.peers is not None and view.peers >= self._plan.count - 1

    def _turn(self, before: NodeView | None, view: NodeView) -> list[Event]:
        """Tell a turn of fate, if this is one."""
        old = State.STARTING if before is None else before.state
        if old is view.state or (old.answers and view.state in (State.UP, State.CATCHING_UP)):
            return []
        if not view.state.answers:
            self._told.pop(view.name, None)
        match view.state:
            case State.DEAD | State.STOPPED:
                died = view.state is State.DEAD and old is not State.BY_HAND
                ended = f"died ({view.reason})" if died else "stopped"
                text = f"{ended}; start it again with: {view.command}"
                return [Event(view.name, "down", text, {"reason": view.reason, "command": view.command})]
            case State.SILENT:
                return [Event(view.name, "silent", f"does not answer (pid {view.pid})", {"pid": view.pid})]
            case State.STARTING:
                return [Event(view.name, "starting", f"starts again, pid {view.pid}", {"pid": view.pid})]
            case State.BY_HAND:
                fields: dict[str, object] = {"http": view.url, "pid": None, "command": view.command}
                return [Event(view.name, "up", f"up {view.url}, started by hand", fields)]
            case _:
                fields = {"http": view.url, "pid": view.pid, "command": view.command}
                return [Event(view.name, "up", f"up {view.url} pid {view.pid}", fields)]

    def _status(self, view: NodeView) -> list[Event]:
        """Tell what it holds and whom it sees, if that has changed."""
        ready = view.state is not State.CATCHING_UP
        status = (view.peers, view.records, view.in_sync, ready)
        if self._told.get(view.name) == status:
            return []
        self._told[view.name] = status
        records = "1 record" if view.records == 1 else f"{view.records} records"
        sync = "in sync" if view.in_sync else "syncing"
        text = f"peers {view.peers}/{self._plan.count - 1}, {records}, {sync}"
        fields: dict[str, object] = {
            "peers": view.peers,
            "of": self._plan.count - 1,
            "records": view.records,
            "in_sync": view.in_sync,
            "ready": ready,
        }
        return [Event(view.name, "status", text if ready else f"{text}, not ready yet", fields)]

    def _ready(self, views: Sequence[NodeView]) -> list[Event]:
        """Say once what can be tried now, and for each node how to lose it and bring it back."""
        tries = self._plan.tries(views)
        look = f"look at {views[0].url}/"
        text = "\n  ".join(
            [f"all {len(views)} ready; try:" if len(views) > 1 else "ready; try:", look, *tries]
        )
        events = [Event(DEMO, "ready", text, {"try": tries, "dashboard": f"{views[0].url}/"})]
        for view in views:
            fields: dict[str, object] = {"kill": f"kill -9 {view.pid}", "command": view.command}
            text = f"lose it: kill -9 {view.pid}   bring it back: {view.command}"
            events.append(Event(view.name, "hint", text, fields))
        return events
