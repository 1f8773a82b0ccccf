"""A server that answers as an Endpoint Picker's admin port does, and a reader that is gone."""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TextIO

import attrs
import pytest


def closed_pipe() -> TextIO:
    """Return the end to write to of a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    return open(write, "w", encoding="utf-8")


@attrs.define
class Picker:
    """Answers with what a test gave it.

    Attributes:
        url: Where it listens.
        answers: Status and body by path.
        asked: The paths that were asked for, with their queries.
    """

    url: str
    answers: dict[str, tuple[int, bytes]] = attrs.Factory(dict[str, tuple[int, bytes]])
    asked: list[str] = attrs.Factory(list[str])

    def answer(self, path: str, body: Mapping[str, Any] | bytes, status: int = 200) -> None:
        self.answers[path] = (status, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.fixture
def picker() -> Iterator[Picker]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            here.asked.append(self.path)
            status, body = here.answers.get(self.path.split("?")[0], (404, b"nothing here"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        here = Picker(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield here
        server.shutdown()
        thread.join()
