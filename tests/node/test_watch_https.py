"""Watching over HTTPS, by the client and by `dayfly watch`, through restarts of the only node."""

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Generator
from pathlib import Path

from node.client import Client, NodeUnreachable
from tests.api.nodes import lone_node
from tests.certificates import make_certificate
from tests.node.commands import COMMAND, ENVIRONMENT
from tests.processes import ROOT, NodeProcess, wait_until

ENDS = [signal.SIGKILL, signal.SIGTERM] if os.environ.get("DAYFLY_TEST_LONG") else [signal.SIGKILL]


@contextlib.contextmanager
def watch_command(out: Path, *arguments: str) -> Generator["subprocess.Popen[bytes]"]:
    """Run `dayfly watch`; what it says on either way is added to `out`."""
    with out.open("ab") as said:
        process = subprocess.Popen(
            [*COMMAND, "watch", *arguments], cwd=ROOT, env=ENVIRONMENT, stdout=said, stderr=said
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def shown(out: Path) -> list[str]:
    """The ids in whole lines of output; a line that is no record fails."""
    whole = out.read_text().rpartition("\n")[0]
    return [json.loads(line)["id"] for line in whole.splitlines()]


def restart(node: NodeProcess, number: int, client: Client) -> None:
    """End the node by a signal and start it again; it takes posts then."""
    node.signal(number)
    assert node.process is not None
    node.process.wait(10)
    node.start()

    def answers() -> bool:
        with contextlib.suppress(NodeUnreachable):
            return "name" in client.show("/v1/node")
        return False

    wait_until(answers, "the node answers again")


def test_over_https_a_watch_outlives_the_restarts_of_its_node(tmp_path: Path) -> None:
    """Nothing is missed and nothing comes twice, nor when the watcher itself comes back."""
    certificate, key = make_certificate(tmp_path)
    out, state = tmp_path / "out", tmp_path / "state"
    https = ("--http-cert", str(certificate), "--http-key", str(key), "--data-dir", str(tmp_path / "data"))
    with lone_node(*https, tls=True) as node:
        url = f"https://127.0.0.1:{node.port}"
        arguments = ("--node", url, "--ca", str(certificate), "--state", str(state))
        client, ids, posted = Client(url, ca=certificate), list[str](), list[str]()

        def post() -> None:
            for _ in range(5):
                posted.append(client.post("x", id=f"tls/{len(posted)}").id)

        watch = client.watch()

        def follow() -> None:
            for record in watch:
                ids.append(record.id)  # one by one: it is looked at meanwhile

        follower = threading.Thread(target=follow)
        follower.start()
        try:
            with watch_command(out, *arguments) as command:
                wait_until(lambda: bool(watch.state().cursors) and state.exists(), "both are asked for")
                wait_until(lambda: url in state.read_text(), "both have begun")
                for end in ENDS:
                    post()
                    wait_until(lambda: ids == posted and shown(out) == posted, "both have all")
                    restart(node, end, client)
                post()
                wait_until(lambda: ids == posted and shown(out) == posted, "both have all again")
                command.send_signal(signal.SIGTERM)
                assert command.wait(10) == 0
        finally:
            watch.close()
            follower.join(20)
        post()
        with watch_command(out, *arguments), client.watch(resume=watch.state()) as later:
            assert [next(later).id for _ in range(5)] == posted[-5:]
            wait_until(lambda: shown(out) == posted, "the command has what came while it was gone")
        assert ids == posted[:-5]
