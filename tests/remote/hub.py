"""A Hub on loopback: the few of its answers that reading a dataset repository asks for, as huggingface_hub takes them.

Written from that library's requests, not from the Hub: repositories and revisions, the tree in pages, what is said of
paths, and files by ranges. Of those that the Hub keeps in LFS, it sends on to another address, which is signed.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

REPO = "ada/birds"
SIGNATURE = "0dd-s1gnature"


@dataclass
class Hub:
    """What it holds, and what it was asked.

    Attributes:
        url: its address.
        files: of the repository, by revision and path.
        token: without which the repository is not there; "" where everybody may read it.
        page: so many entries of a tree come at once.
        requests: in order: "GET /api/datasets/ada/birds".
        sent: bytes of each file.
    """

    url: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"main": {}})
    token: str = ""
    page: int = 1000
    requests: list[str] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)

    def commit(self, folder: Path, *, revision: str = "main", under: str = "") -> None:
        """Put what a folder holds into the repository, and remove nothing."""
        there = self.files.setdefault(revision, {})
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                there[under + path.relative_to(folder).as_posix()] = path.read_bytes()

    def count(self, part: str) -> int:
        """How many requests had this in them."""
        return sum(part in request for request in self.requests)


def _is_large(path: str) -> bool:
    return path.endswith((".safetensors", ".zst", ".wav", ".flac"))


def _said(path: str, data: bytes) -> dict[str, object]:
    """What the Hub says of a file: of one in LFS the id is that of its pointer, and follows from the content, too."""
    digest = hashlib.sha256(data).hexdigest()
    said: dict[str, object] = {"type": "file", "oid": digest[:40], "size": len(data), "path": path}
    if _is_large(path):
        said |= {"lfs": {"oid": digest, "size": len(data), "pointerSize": 131}, "xetHash": digest[::-1]}
    return said


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        at = urlsplit(self.path)
        self.hub.requests.append(f"{self.command} {unquote(at.path)}")
        query = {name: values[-1] for name, values in parse_qs(at.query).items()}
        if at.path.startswith("/signed/"):  # another host, which knows no token
            _, _, revision, path = at.path.split("/", 3)
            if query.get("Signature") != SIGNATURE:
                return self._refuse(403, "SignatureInvalid")
            return self._send(revision, unquote(path))
        if self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self._refuse(401, "RepoNotFound")
        api, resolve = f"/api/datasets/{REPO}", f"/datasets/{REPO}/resolve/"
        if at.path == api or at.path.startswith(f"{api}/revision/"):
            revision = unquote(at.path.removeprefix(api).removeprefix("/revision/")) or "main"
            if revision not in self.hub.files:
                return self._refuse(404, "RevisionNotFound")
            return self._answer(json.dumps({"id": REPO, "sha": "0" * 40, "private": bool(self.hub.token)}).encode())
        if at.path.startswith(f"{api}/tree/"):
            revision, _, path = at.path.removeprefix(f"{api}/tree/").partition("/")
            return self._tree(unquote(revision), unquote(path), query)
        if at.path.startswith(resolve):
            revision, _, path = at.path.removeprefix(resolve).partition("/")
            revision, path = unquote(revision), unquote(path)
            if path not in self.hub.files.get(revision, {}):
                return self._refuse(404, "EntryNotFound")
            if not _is_large(path):
                return self._send(revision, path)
            quoted = at.path.removeprefix(resolve).partition("/")[2]
            there = f"http://{self.headers['Host']}/signed/{revision}/{quoted}?Signature={SIGNATURE}"
            return self._answer(b"", 302, {"Location": there})
        return self._refuse(404, "RepoNotFound")

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.hub.requests.append(f"POST {unquote(self.path)}")
        start = f"/api/datasets/{REPO}/paths-info/"
        if not self.path.startswith(start):
            return self._refuse(404, "RepoNotFound")
        there = self.hub.files[unquote(self.path.removeprefix(start))]
        asked = parse_qs(body)
        more = {
            "lastCommit": {"id": "0" * 40, "title": "birds", "date": "2026-03-01T12:00:00.000Z"},
            "securityFileStatus": {"status": "safe", "avScan": None, "pickleImportScan": None},
        }
        found = [_said(path, there[path]) for path in asked["paths"] if path in there]
        if asked["expand"] == ["true"]:
            found = [said | more for said in found]
        return self._answer(json.dumps(found).encode())

    def _tree(self, revision: str, below: str, query: dict[str, str]) -> None:
        """What lies in a folder, or with `recursive`, below it, a page at a time."""
        start = f"{below}/" if below else ""
        found: dict[str, dict[str, object]] = {}
        for path, data in sorted(self.hub.files[revision].items()):
            if not path.startswith(start):
                continue
            folders = [path[:at] for at in range(len(start), len(path)) if path[at] == "/"]
            if query["recursive"] == "false":
                folders = folders[:1]
            found |= {folder: {"type": "directory", "oid": "0" * 40, "size": 0, "path": folder} for folder in folders}
            if query["recursive"] == "true" or not folders:
                found[path] = _said(path, data)
        if below and not found:
            return self._refuse(404, "EntryNotFound")
        first = int(query.get("cursor", 0))
        entries = list(found.values())[first : first + self.hub.page]
        headers = {}
        if first + self.hub.page < len(found):
            at = urlsplit(self.path).path
            rest = f"recursive={query['recursive']}&expand={query['expand']}&cursor={first + self.hub.page}"
            headers["Link"] = f'<http://{self.headers["Host"]}{at}?{rest}>; rel="next"'
        return self._answer(json.dumps(entries).encode(), headers=headers)

    def _send(self, revision: str, path: str) -> None:
        data = self.hub.files[revision][path]
        asked = self.headers.get("Range", "").removeprefix("bytes=")
        if not asked:
            return self._answer(data)
        first, _, last = asked.partition("-")
        if int(first) >= len(data):
            return self._refuse(416, "")
        part = data[int(first) : int(last) + 1 if last else None]
        self.hub.sent[path] = self.hub.sent.get(path, 0) + len(part)
        said = {"Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"}
        return self._answer(part, 206, said)

    def _refuse(self, status: int, code: str) -> None:
        self._answer(b'{"error": "odd"}', status, {"X-Error-Code": code} if code else {})

    def _answer(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response_only(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            with suppress(ConnectionError):
                self.wfile.write(body)


@contextmanager
def hub_server() -> Iterator[Hub]:
    """A Hub with one repository of a dataset, in threads of this process, for the time of the block."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
