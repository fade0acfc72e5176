"""The lifetime of one node process: start HTTP, then the cluster; stop in the same order.

HTTP starts first so that peers can be told its address. It stops first so that every record it has
acknowledged is still handed to the peers: then the bus closes, and the cluster sends what is queued and
says goodbye. A journal is read before all that and closed after it. All of the stop is under one deadline.
"""

import gc
import os
import signal
import ssl
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import cast

import structlog
import trio

from api import (
    Access,
    Credentials,
    FeedLimits,
    Feeds,
    HttpLimits,
    ServerStatistics,
    create_app,
    fast_routes,
    fit_to_files,
    serve,
    server_context,
)
from cluster.address import format_address, is_loopback
from node.config import Config
from node.key_files import KeyFileError
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
    """Run a node until the process is told to stop (SIGTERM, SIGINT, SIGQUIT; SIGHUP if it has no key file).

    Args:
        parent_pipe: a descriptor whose end of file means that the parent is gone, which stops the node too.

    Raises:
        StartError: a port or the data directory cannot be had; nothing runs.
        KeyFileError: so for the key file.
    """
    if parent_pipe is not None:
        die_with_parent()
    stopping = trio.Event()
    running: list[Node] = []
    async with trio.open_nursery() as watchers:
        await watchers.start(_follow_signals, stopping, running if config.key_file else None)
        if parent_pipe is not None:
            watchers.start_soon(_follow_parent, parent_pipe, stopping)
        if config.data_dir is None:
            running.append(Node(config))
            await _run(running[0], stopping, STOP_TIMEOUT_S)
        elif (store := await _open_journal(config, config.data_dir, stopping)) is not None:
            stop_by_s: float | None = None
            try:
                running.append(Node(config, store=store))
                stop_by_s = JOURNAL_CLOSE_S + await _run(
                    running[0], stopping, STOP_TIMEOUT_S - JOURNAL_CLOSE_S
                )
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
        node.receipts.close()
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

    access = _access(node.config, statistics)

    async def shutdown() -> None:
        await stopping.wait()
        feeds.close()

    bind = format_address(*node.config.http)
    server = partial(
        serve,
        create_app(feeds, limits, statistics, access),
        bind,
        limits,
        shutdown=shutdown,
        access=access,
        tls=_tls(node.config),
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
        links=str(node.links),
    )
    _warn(node)
    return http_over


def _warn(node: Node) -> None:
    """Say what is open to other machines."""
    alone = node.config.peer[0] == "localhost" or is_loopback(node.peer_address)
    if not (node.links.key or node.config.open or alone):
        _log.warning(
            "links are open: whoever reaches the peer port can read and post;"
            " dayfly keygen makes a key against that, --open says that it is meant"
        )
    if note := _exposure(node.config):
        _log.warning(note, http=node.http_urls[0])


def _access(config: Config, statistics: ServerStatistics) -> Access:
    known = Credentials(config.auth_user, config.auth_password, config.write_token, config.read_token)
    return Access(config.http_host, known, config.post_rate, statistics)


def _tls(config: Config) -> ssl.SSLContext | None:
    """Read the certificate, if one is named. Raises StartError."""
    if config.http_cert is None:
        return None
    try:
        return server_context(config.http_cert, config.http_key)
    except ValueError as error:
        raise StartError(str(error)) from None


def _exposure(config: Config) -> str:
    """Say in a line what clients of other machines find open; nothing if none are there or all is closed."""
    if is_loopback(config.http[0]) or config.http[0] == "localhost":
        return ""
    may_write = config.auth_password is None and config.write_token is None
    if may_write or config.read_token is None:
        what = "post and read" if may_write and config.read_token is None else "post" if may_write else "read"
        return f"whoever reaches this node's HTTP port may {what} (see --write-token and --read-token)"
    if config.http_cert is None:
        return "passwords and tokens cross the network in clear (see --http-cert)"
    return ""


def _settle_collector() -> None:
    """Spare the garbage collector what has come to stay: modules, classes, routes.

    Measured with 10^6 records in the store: a full pass takes 13 ms in place of more than 40.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def _follow_signals(
    stopping: trio.Event,
    rekeyed: Sequence[Node] | None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Turn the first signal to stop into the event; later ones change nothing, the stop has a deadline.

    Args:
        rekeyed: the nodes, once there are any, that read their keys again at SIGHUP; None: that stops too. It
            stops in any case when it means what it meant first, that the terminal has hung up; in none for
            whoever was started to outlive that (nohup).
    """
    had_terminal, outlives = _has_terminal(), signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    with trio.open_signal_receiver(*numbers) as signals:
        task_status.started()
        async for number in signals:
            is_terminal_there = rekeyed is not None and _has_terminal() >= had_terminal
            if number == signal.SIGHUP and (outlives or is_terminal_there):
                for node in rekeyed or ():
                    _rekey(node)
                continue
            if not stopping.is_set():
                _log.info("stopping", signal=signal.Signals(number).name)
            stopping.set()


def _rekey(node: Node) -> None:
    """Let a node read its keys again; a bad file is an error in the log and changes nothing."""
    try:
        node.rekey()
    except (KeyFileError, OSError) as error:
        _log.error("the keys stay as they were", reason=str(error))
    else:
        _log.info("keys read again", links=str(node.links), accepted=node.links.accepted)


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal (still)."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


async def _follow_parent(parent_pipe: int, stopping: trio.Event) -> None:
    """Stop when the other end of the pipe is closed, by whatever death the parent died."""
    async with trio.lowlevel.FdStream(parent_pipe) as pipe:
        while await pipe.receive_some(64):
            pass
    _log.info("stopping", reason="the parent process is gone")
    stopping.set()
