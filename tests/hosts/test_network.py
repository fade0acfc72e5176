"""The wire tells the truth: each fault does what it says, and nothing else."""

import contextlib
import socket
import threading
import time
from collections.abc import Generator

import pytest

from tests.hosts.network import Host, Network, network

PORT = 9000


def datagrams_through(source: Host, target: Host, count: int = 1) -> int:
    """Send datagrams from one host to another; return how many came through."""
    came = 0
    with source.space.socket(socket.SOCK_DGRAM) as out, target.space.socket(socket.SOCK_DGRAM) as into:
        into.bind((target.address, PORT))
        for number in range(count):
            out.sendto(b"?", (target.address, PORT))
            into.settimeout(0.3 if number == count - 1 else 0.0)  # read along: a full buffer would lose some
            with contextlib.suppress(TimeoutError, BlockingIOError):
                while came <= number:
                    into.recv(1)
                    came += 1
    return came


@contextlib.contextmanager
def connection(client: Host, server: Host) -> Generator[tuple[socket.socket, socket.socket], None, None]:
    """Connect two hosts by TCP; both ends wait half a second for bytes."""
    with server.space.socket(socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((server.address, PORT))
        listener.listen()
        with client.space.socket(socket.SOCK_STREAM) as near:
            near.connect((server.address, PORT))
            far = listener.accept()[0]
            with far:
                near.settimeout(0.5)
                far.settimeout(0.5)
                yield near, far


def test_a_split_stops_every_packet_and_only_between_the_halves(net: Network) -> None:
    """Within each half hosts reach each other; across, nobody does until it is healed."""
    a, b, c, d = net.hosts[:4]
    across = [(a, c), (c, a), (b, d), (d, b)]
    # From here on all know each other's hardware addresses, so the first packet counts.
    assert [datagrams_through(x, y) for x, y in across] == [1, 1, 1, 1]

    net.split([a, b])

    assert datagrams_through(a, b) == datagrams_through(c, d) == 1
    assert [datagrams_through(x, y) for x, y in across] == [0, 0, 0, 0]
    net.heal()
    assert [datagrams_through(x, y) for x, y in across] == [1, 1, 1, 1]


def test_a_connection_across_a_split_goes_silent_and_survives_it(net: Network) -> None:
    """TCP hears neither a reset nor an end; what was written meanwhile arrives once it is healed."""
    with connection(net.hosts[0], net.hosts[1]) as (near, far):
        net.split(net.hosts[:1])
        near.sendall(b"meanwhile")
        for end in (near, far):
            with pytest.raises(TimeoutError):
                end.recv(1)
        net.heal()
        far.settimeout(10)

        assert far.recv(64) == b"meanwhile"


def test_a_one_way_cut_is_one_way(net: Network) -> None:
    """The one is not heard any more by the other, hears it all the same, and both reach a third."""
    a, b, c = net.hosts[:3]
    assert datagrams_through(a, b) == datagrams_through(b, a) == 1

    net.cut(a, b)

    assert datagrams_through(a, b) == 0
    assert datagrams_through(b, a) == 1
    assert datagrams_through(a, c) == datagrams_through(c, b) == 1
    net.heal()
    assert datagrams_through(a, b) == 1


def test_loss_is_loss_of_the_share_that_was_asked_for(net: Network) -> None:
    """Of 2,000 packets without loss all arrive, at 20 % about 1,600, and after the heal all again."""
    a, b = net.hosts[:2]
    assert datagrams_through(a, b, 2000) == 2000

    net.lose(20)
    came = datagrams_through(a, b, 2000)
    net.heal()

    print(f"\n20 % loss: {came} of 2000 datagrams came through")
    assert 1500 < came < 1700, "1,600 ± 18 is one standard deviation"
    assert datagrams_through(a, b, 2000) == 2000


def test_a_rate_is_kept(net: Network) -> None:
    """200 kB at 2 Mbit/s take most of a second, without the limit next to nothing."""
    seconds: list[float] = []
    for rate in ("2mbit", ""):
        if rate:
            net.slow(net.hosts[1], rate)
        with connection(net.hosts[0], net.hosts[1]) as (near, far):
            far.settimeout(10)
            sender = threading.Thread(target=near.sendall, args=(bytes(200_000),))
            began = time.monotonic()
            sender.start()
            left = 200_000
            while left:
                left -= len(far.recv(left))
            seconds.append(time.monotonic() - began)
            sender.join()
        net.heal()

    print(f"\n200 kB: {seconds[0]:.2f} s at 2 Mbit/s, {seconds[1]:.3f} s without a limit")
    assert seconds[0] > 0.6
    assert seconds[1] < seconds[0] / 2


def test_nothing_of_it_is_seen_outside_and_nothing_stays() -> None:
    """The machine has the same interfaces before, while there is a network, and after it."""
    before = socket.if_nameindex()
    with network(3) as made:
        assert datagrams_through(made.hosts[0], made.hosts[2]) == 1
        with made.hosts[0].space.entered():
            assert {"lo", "eth0"} <= {name for _, name in socket.if_nameindex()}
        assert socket.if_nameindex() == before
    assert socket.if_nameindex() == before
