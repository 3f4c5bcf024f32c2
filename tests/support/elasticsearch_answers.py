"""An Elasticsearch as far as Jaeger and its index cleaner talk to one."""

from __future__ import annotations

import datetime as dt
import fnmatch
import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


def created(index):
    """Return an index's settings, as old as its name says."""
    day = dt.datetime.fromisoformat(f"{index[-10:]}T00:00:00+00:00")
    return {"index.creation_date": f"{day.timestamp():.0f}000", "index.provided_name": index}


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/":
            self.answer({"version": {"number": "8.19.0"}, "tagline": "You Know, for Search"})
            return
        pattern = unquote(urlsplit(self.path).path).strip("/")
        found = fnmatch.filter(self.server.indices, pattern)
        self.answer({name: {"aliases": {}, "settings": created(name)} for name in found})

    def do_DELETE(self):
        names = unquote(urlsplit(self.path).path).strip("/").split(",")
        self.server.indices = [name for name in self.server.indices if name not in names]
        self.answer({"acknowledged": True})

    def do_HEAD(self):
        self.do_GET()

    def do_PUT(self):
        self.body()
        self.answer({"acknowledged": True})

    def do_POST(self):
        lines = [json.loads(line) for line in self.body().splitlines() if line]
        pairs = list(zip(lines[::2], lines[1::2], strict=True))
        self.server.stored += [(action["index"]["_index"], body) for action, body in pairs]
        self.answer({"errors": False, "items": [{"index": {"status": 201}} for _ in pairs]})

    def body(self):
        whole = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                whole += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            whole = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return gzip.decompress(whole) if self.headers.get("Content-Encoding") == "gzip" else whole

    def answer(self, document):
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


class Elasticsearch(ThreadingHTTPServer):
    """What Jaeger asks of Elasticsearch: who it is, templates, spans in bulk, old indices."""

    def __init__(self, indices=()):
        super().__init__(("127.0.0.1", 0), _Answers)
        self.stored = []
        self.indices = list(indices)
        self.address = f"127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *details):
        self.shutdown()
        super().__exit__(*details)

    def handle_error(self, *_):
        """Jaeger is killed amid its connections."""
