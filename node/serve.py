"""The lifetime of one node process: start HTTP, then the cluster; stop in the same order.

HTTP starts first so that peers can be told its address. It stops first so that every record it has
acknowledged is still handed to the peers: then the bus closes, and the cluster sends what is queued and
says goodbye. A journal is read before all that and closed after it. All of the stop is under one deadline.
"""

import gc
import os
import signal
from functools import partial
from pathlib import Path
from typing import cast

import structlog
import trio

from api import FeedLimits, Feeds, HttpLimits, ServerStatistics, create_app, fast_routes, fit_to_files, serve
from cluster.address import format_address
from node.config import Config
from node.lifeline import die_with_parent
from node.node import Node, system_clock
from node.opening import close_journal, open_journal
from storage import JournalStore, StoreUnusable

_log = structlog.get_logger("dayfly.node")

STOP_TIMEOUT_S = 4.5
"""After so long a stop is cut short: an orchestrator's patience is 10 s, our promise is 5."""

JOURNAL_CLOSE_S = 0.5
"""Of that, what is left to a journal at least: what waits then has come from peers in the last moments."""


GC_THRESHOLDS = (5_000, 20, 100)
"""After how many new containers the three generations of the collector are looked through. Our choice,
measured: seven times fewer passes than by default, each at most 12 ms."""


class StartError(Exception):
    """The node could not start; says what to change."""


def first_message(error: BaseException) -> str:
    """Return what the first exception in a group says; of an OSError only the words."""
    leaf = error
    while isinstance(leaf, BaseExceptionGroup):
        leaf = cast("BaseExceptionGroup[BaseException]", leaf).exceptions[0]
    return str(getattr(leaf, "strerror", None) or leaf)


async def serve_node(config: Config, parent_pipe: int | None = None) -> None:
    """Run a node until the process is told to stop (SIGTERM, SIGINT, SIGHUP, SIGQUIT).

    Args:
        parent_pipe: a descriptor whose end of file means that the parent is gone, which stops the node too.

    Raises:
        StartError: a port or the data directory cannot be had; nothing runs.
    """
    if parent_pipe is not None:
        die_with_parent()
    stopping = trio.Event()
    async with trio.open_nursery() as watchers:
        await watchers.start(_follow_signals, stopping)
        if parent_pipe is not None:
            watchers.start_soon(_follow_parent, parent_pipe, stopping)
        if config.data_dir is None:
            await _run(Node(config), stopping, STOP_TIMEOUT_S)
        elif (store := await _open_journal(config, config.data_dir, stopping)) is not None:
            stop_by_s: float | None = None
            try:
                node = Node(config, store=store)
                stop_by_s = JOURNAL_CLOSE_S + await _run(node, stopping, STOP_TIMEOUT_S - JOURNAL_CLOSE_S)
            finally:
                await close_journal(store, stop_by_s or trio.current_time() + STOP_TIMEOUT_S)
        watchers.cancel_scope.cancel()


async def _run(node: Node, stopping: trio.Event, stop_timeout_s: float) -> float:
    """Run a node until `stopping` is set, and at most `stop_timeout_s` longer.

    Returns:
        When the stop was, or would have been, cut short (trio's clock).

    Raises:
        StartError: a port cannot be had.
    """
    async with trio.open_nursery() as nursery:
        http_over = await _start(nursery, node, stopping)
        await stopping.wait()
        nursery.cancel_scope.deadline = trio.current_time() + stop_timeout_s
        await http_over.wait()
        node.close()
    return nursery.cancel_scope.deadline


async def _open_journal(config: Config, data_dir: Path, stopping: trio.Event) -> JournalStore | None:
    """Read the journal; None if told to stop meanwhile. Raises StartError."""
    store: JournalStore | None = None
    async with trio.open_nursery() as nursery:

        async def cancel() -> None:
            await stopping.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(cancel)
        try:
            store = await open_journal(config, data_dir, system_clock().wall_ms)
        except StoreUnusable as error:
            raise StartError(str(error)) from None
        nursery.cancel_scope.cancel()
    return store


async def _start(nursery: trio.Nursery, node: Node, stopping: trio.Event) -> trio.Event:
    """Start HTTP, then the cluster. Returns an event that HTTP has stopped. Raises StartError."""
    http_over = trio.Event()
    limits, statistics = fit_to_files(HttpLimits(node.config.connections_max)), ServerStatistics()
    feeds = Feeds(node, FeedLimits.within(limits))
    nursery.start_soon(feeds.run)

    async def shutdown() -> None:
        await stopping.wait()
        feeds.close()

    bind = format_address(*node.config.http)
    server = partial(
        serve,
        create_app(feeds, limits, statistics),
        bind,
        limits,
        shutdown=shutdown,
        hosts_allowed=node.config.http_host,
        statistics=statistics,
        fast_routes=fast_routes(node),
    )

    async def run_http(task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            await server(task_status=task_status)
        finally:
            http_over.set()

    try:
        node.serving(await nursery.start(run_http))
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise StartError(f"cannot listen for clients on {bind}: {why}; choose another --http") from None
    _settle_collector()
    reason = ""
    try:
        await nursery.start(node.run)
    except* OSError as errors:  # a group: it comes out of the node's own nursery
        reason = first_message(errors)
    if reason:
        raise StartError(f"{reason}; choose another --peer")
    _log.info(
        "node up",
        name=node.name,
        http=node.http_urls[0],
        peer=node.peer_address,
        cluster=node.config.cluster,
        announced_on=node.announced_on,
    )
    return http_over


def _settle_collector() -> None:
    """Spare the garbage collector what has come to stay: modules, classes, routes.

    Measured with 10^6 records in the store: a full pass takes 13 ms in place of more than 40.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def _follow_signals(
    stopping: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Turn the first signal to stop into the event; later ones change nothing, the stop has a deadline."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    with trio.open_signal_receiver(*numbers) as signals:
        task_status.started()
        async for number in signals:
            if not stopping.is_set():
                _log.info("stopping", signal=signal.Signals(number).name)
            stopping.set()


async def _follow_parent(parent_pipe: int, stopping: trio.Event) -> None:
    """Stop when the other end of the pipe is closed, by whatever death the parent died."""
    async with trio.lowlevel.FdStream(parent_pipe) as pipe:
        while await pipe.receive_some(64):
            pass
    _log.info("stopping", reason="the parent process is gone")
    stopping.set()
