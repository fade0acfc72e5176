"""What a demo tells: every turn of fate once, and nothing when nothing has changed."""

from dataclasses import replace
from pathlib import Path

import pytest

from node.demo_story import Event, NodeView, Plan, State, Story

PLAN = Plan(count=2, ttl="24h", cluster="demo-8080", command=("./scripts/dayfly",), logs=Path("logs"))
AMBER = NodeView("amber", 8080, 11, State.UP, "again amber", peers=1, records=0, in_sync=True)
BIRCH = NodeView("birch", 8081, 12, State.UP, "again birch", peers=1, records=0, in_sync=True)


def told(events: list[Event]) -> list[tuple[str, str]]:
    """Return who said what kind of thing."""
    return [(e.node, e.event) for e in events]


@pytest.fixture
def story() -> Story:
    """A story in which both nodes are up and everything was told."""
    made = Story(PLAN)
    made.tell([AMBER, BIRCH])
    return made


def test_the_ready_line_waits_for_all_and_comes_once() -> None:
    """One node that is not linked yet holds it back; later observations do not repeat it."""
    story = Story(PLAN)
    assert ("demo", "ready") not in told(story.tell([AMBER, replace(BIRCH, peers=0)]))
    assert ("demo", "ready") not in told(story.tell([AMBER, replace(BIRCH, state=State.CATCHING_UP)]))
    assert ("demo", "ready") in told(story.tell([AMBER, BIRCH]))
    assert story.tell([AMBER, BIRCH]) == []


def test_only_what_changed_is_told(story: Story) -> None:
    """A record that arrives at one node is one line of that node; the passing of time is none."""
    assert story.tell([AMBER, replace(BIRCH, last_s=3.0)]) == []
    (event,) = story.tell([AMBER, replace(BIRCH, records=1)])
    assert (event.node, event.text) == ("birch", "peers 1/1, 1 record, in sync")


@pytest.mark.parametrize(
    ("state", "reason", "event", "text"),
    [
        (State.DEAD, "SIGKILL", "down", "died (SIGKILL); start it again with: again birch"),
        (State.STOPPED, "exit code 0", "down", "stopped; start it again with: again birch"),
        (State.SILENT, "", "silent", "does not answer (pid 12)"),
        (State.STARTING, "", "starting", "starts again, pid 12"),
    ],
)
def test_a_turn_of_fate_is_told_once(story: Story, state: State, reason: str, event: str, text: str) -> None:
    """Each way not to answer has its words, and coming back from it tells the whole status again."""
    gone = replace(BIRCH, state=state, reason=reason, peers=None, records=None, in_sync=None)
    assert [(e.event, e.text) for e in story.tell([AMBER, gone])] == [(event, text)]
    assert story.tell([AMBER, gone]) == []
    assert told(story.tell([AMBER, BIRCH])) == [("birch", "up"), ("birch", "status")]


def test_lines_to_try_name_the_port_only_where_they_must() -> None:
    """On the port that commands use by default `post hello` is enough."""
    assert PLAN.tries([AMBER, BIRCH])[2] == "./scripts/dayfly post hello"
    elsewhere = replace(AMBER, http_port=9000)
    assert PLAN.tries([elsewhere, BIRCH])[2] == "./scripts/dayfly post hello --node http://127.0.0.1:9000"


@pytest.mark.parametrize("links", ["open", "encrypted, key 0123456789abcdef"])
def test_the_opening_says_how_links_are_secured(links: str) -> None:
    """In words, and as a field; the line above everything stays short enough for a small terminal."""
    plan = replace(PLAN, links=links)
    (opening,) = plan.opening()
    assert opening.text.endswith(f"\nlinks {links}")
    assert opening.fields["links"] == links
    assert len(f"{plan.headline}   Ctrl-C stops all") < 80
