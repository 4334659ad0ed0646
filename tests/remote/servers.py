"""An object store on loopback that speaks S3, and what comes between: a proxy that fails in the ways networks do."""

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

_SERVE = """
import sys, threading
from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer

# It looks whether an object is there, and then makes it: a store that must not be overwritten does both at once.
lock, put_object = threading.Lock(), S3Response.put_object

def put_one_by_one(self):
    with lock:
        return put_object(self)

S3Response.put_object = put_one_by_one
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(*server.get_host_and_port(), flush=True)
sys.stdin.read()
"""

# As odd as credentials may be, so that they are found wherever they come out.
ACCESS_KEY, SECRET_KEY, TOKEN = "AKIAODDODDODDODDODD7", "s3cr3t/odd+Odd/0dd=x7Qz", "t0k3n//odd+session=Zx9"


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of an S3 server (moto) in a process of its own, which ends with the block or with this process."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"},
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        host, port = next(line for line in process.stdout if line.startswith("127.")).split()
        yield f"http://{host}:{port}"
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def make_bucket(endpoint: str, name: str) -> None:
    """Make a bucket by that name on the server."""
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT")).close()


@dataclass(frozen=True)
class Fault:
    """What happens to a request in the place of a sound answer.

    Attributes:
        status: this and an error of S3, and the store is not asked.
        code: of that error.
        silent: nothing is answered until whoever asked has gone.
        cut_after: the connection ends after so many bytes of the body.
        keep: the body is so many bytes long, and its length is said to be that.
        flip: this byte of the body is another.
        drop: the connection ends, and the store was not asked.
        drop_answer: the store has done what was asked; the connection ends without an answer.
    """

    status: int | None = None
    code: str | None = None
    silent: bool = False
    cut_after: int | None = None
    keep: int | None = None
    flip: int | None = None
    drop: bool = False
    drop_answer: bool = False


@dataclass
class _Rule:
    fault: Fault
    method: str
    part: str
    left: float


@dataclass
class Proxy:
    """Passes requests on to a store, as it is told to.

    Attributes:
        url: its address.
        requests: what came, in order: "GET /bucket/key".
        latency_s: every answer begins so much later.
        halt_after: of bodies that are answered, so many bytes come, and the rest never does; None is all of them.
        halted: how many bodies that became of.
    """

    url: str
    requests: list[str] = field(default_factory=list)
    latency_s: float = 0
    halt_after: int | None = None
    halted: int = 0
    _rules: list[_Rule] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, fault: Fault, *, times: float = float("inf"), method: str = "GET", part: str = "") -> None:
        """Do this to the next so many requests of a method whose path has the part in it."""
        self._rules.append(_Rule(fault, method, part, times))

    def heal(self) -> None:
        """Forget all faults."""
        self._rules.clear()

    def count(self, start: str) -> int:
        """How many requests began so, such as "GET /bucket/train-"."""
        return sum(request.startswith(start) for request in self.requests)

    def _fault(self, method: str, path: str) -> Fault:
        with self._lock:
            self.requests.append(f"{method} {unquote(path)}")
            for rule in self._rules:
                if rule.left > 0 and rule.method == method and rule.part in unquote(path):
                    rule.left -= 1
                    return rule.fault
        return Fault()


@contextmanager
def proxy_to(endpoint: str) -> Iterator[Proxy]:
    """A proxy to a server, in threads of this process, for the time of the block."""
    host = endpoint.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def _pass_on(self) -> None:
            fault = proxy._fault(self.command, self.path)
            body = self._body()
            time.sleep(proxy.latency_s)
            if fault.silent:
                self._wait_until_they_have_gone()
            if fault.drop or fault.silent:
                return self._end()
            if fault.status is not None:
                return self._refuse(fault.status, fault.code)
            upstream = http.client.HTTPConnection(host)
            try:
                headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
                if "transfer-encoding" in self.headers:
                    headers["Content-Length"] = str(len(body))
                upstream.request(self.command, self.path, body or None, headers)
                answer = upstream.getresponse()
                data = answer.read()
            finally:
                upstream.close()
            if fault.drop_answer:
                return self._end()
            return self._answer(answer, data, fault)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _answer(self, answer: http.client.HTTPResponse, data: bytes, fault: Fault) -> None:
            if fault.keep is not None:
                data = data[: fault.keep]
            if fault.flip is not None and data:
                at = fault.flip % len(data)
                data = data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else len(data)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            end = proxy.halt_after if fault.cut_after is None else fault.cut_after
            self.wfile.write(data[:end])
            if fault.cut_after is not None:
                self._end()
            elif end is not None and len(data) > end:
                proxy.halted += 1
                self._wait_until_they_have_gone()
                self._end()

        def _refuse(self, status: int, code: str | None) -> None:
            code = code or {500: "InternalError", 503: "SlowDown", 403: "AccessDenied"}.get(status, "Odd")
            said = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>odd: {TOKEN}</Message></Error>".encode()
            self.send_response_only(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said)

        def _wait_until_they_have_gone(self) -> None:
            with suppress(OSError):
                while self.connection.recv(1, socket.MSG_PEEK):
                    time.sleep(0.02)

        def _end(self) -> None:
            self.close_connection = True
            with suppress(OSError):
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)

        def handle(self) -> None:
            with suppress(ConnectionError):  # whoever asked has given up
                super().handle()

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: object, client_address: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    proxy = Proxy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
