"""A server between a client and another one, which changes what goes by; and one that only says what it is told."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

# What is answered: a status, headers and a body.
Answer = tuple[int, dict[str, str], bytes]
Serve = Callable[[str, str, dict[str, str], bytes], Answer]


@contextmanager
def serving(serve: Serve) -> Iterator[str]:
    """Answer every request as `serve` says; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return self.answer
            raise AttributeError(name)

        def answer(self) -> None:
            sent = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, headers, body = serve(self.command, self.path, dict(self.headers), sent)
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def passing(
    url: str, change: Callable[[Answer], Answer] = lambda answer: answer, *, leave_out: str = ""
) -> Iterator[str]:
    """Pass everything on to a server but one header, and change what it answers; yield the address."""
    kept = ("content-type", "retry-after", "idempotent-replayed")
    with httpx.Client(base_url=url, timeout=30) as client:

        def serve(method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
            passed = {
                name: value for name, value in headers.items() if name.lower() not in (leave_out, "host")
            }
            got = client.request(method, path, headers=passed, content=body)
            told = {name: got.headers[name] for name in kept if name in got.headers}
            return change((got.status_code, told, got.content))

        with serving(serve) as address:
            yield address
