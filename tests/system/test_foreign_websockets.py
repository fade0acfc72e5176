"""A WebSocket client that is not ours, on two nodes: what others' programs will be."""

import json

from websockets.sync.client import connect

from tests.processes import cluster

BASIC = {"Authorization": "Basic dXNlcjpwd2Q="}


def test_a_foreign_client_publishes_on_one_node_and_hears_it_on_another() -> None:
    """The original's pair and `/v1/ws`, with all that the client offers in its handshake."""
    with cluster() as c:
        first, second = c.start(2)
        listener = connect(f"ws://127.0.0.1:{second.port}/websocket")
        publisher = connect(f"ws://127.0.0.1:{first.port}/websocket", additional_headers=BASIC)
        both = connect(f"ws://127.0.0.1:{first.port}/v1/ws")
        with listener, publisher, both:
            publisher.send("as text")
            publisher.send(b"as bytes")
            assert [listener.recv(10), listener.recv(10)] == ["as text", "as bytes"]
            both.send(json.dumps({"op": "post", "raw": "as JSON", "ref": 1}))
            answer = json.loads(both.recv(10))
            assert (answer["event"], answer["status"], answer["ref"]) == ("posted", 201, 1)
            assert listener.recv(10) == "as JSON"
