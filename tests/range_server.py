"""A web server on this machine that serves a folder by ranges, and misbehaves when told to."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class RangeServer(ThreadingHTTPServer):
    """Serves the files of a folder.

    `faults` names what happens to the next requests for the bytes of a file, in turn: `hang` (no
    answer), `cut` (fewer bytes than announced), `short` (fewer bytes, and so announced), `wrong`
    (a bit is flipped), a status such as `503`, or `whole` (the range is ignored).
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.faults: dict[str, list[str]] = {}
        self.forever: dict[str, str] = {}
        self.asked: Counter[str] = Counter()
        self.bytes_sent = 0
        self.released = threading.Event()
        self.own = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def next_fault(self, name: str) -> str:
        with self.own:
            self.asked[name] += 1
            waiting = self.faults.get(name, [])
            return waiting.pop(0) if waiting else self.forever.get(name, "")

    def handle_error(self, *_: Any) -> None:  # a client that gave up
        pass


class _Handler(BaseHTTPRequestHandler):
    server: RangeServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        path = self.server.folder / self._name()
        if not path.is_file():
            self._empty(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(path.stat().st_size))
        self.send_header("ETag", f'"{path.stat().st_mtime_ns:x}"')
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()

    def do_GET(self) -> None:
        name = self._name()
        path = self.server.folder / name
        if not path.is_file():
            self._empty(404)
            return
        fault = self.server.next_fault(name)
        if fault.isdigit():
            self._empty(int(fault))
            return
        if fault == "hang":
            self.server.released.wait(30)
            self.close_connection = True
            return
        self._send(path.read_bytes(), fault)

    def _name(self) -> str:
        return self.path.partition("?")[0].lstrip("/")

    def _send(self, content: bytes, fault: str) -> None:
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        ranged = found is not None and fault != "whole"
        part = content[int(found[1]) : int(found[2]) + 1] if found and ranged else content
        if fault == "short":
            part = part[: len(part) // 2]
        if fault == "wrong":
            part = bytes([part[0] ^ 1]) + part[1:]
        self.send_response(206 if ranged else 200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if fault == "cut":
            part, self.close_connection = part[: len(part) // 2], True
        self.wfile.write(part)
        with self.server.own:
            self.server.bytes_sent += len(part)

    def _empty(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def serving(folder: Path) -> Iterator[RangeServer]:
    """Serves a folder while the block runs."""
    server = RangeServer(folder)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
