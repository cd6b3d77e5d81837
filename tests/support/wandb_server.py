"""As much of a W&B server as the client needs to send runs and to go on with them."""

import gzip
import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PROJECT = {"id": "p", "name": "p", "entity": {"id": "e", "name": "me"}}


class Run:
    """What the server holds of one run."""

    def __init__(self) -> None:
        self.made = False
        self.config = "{}"
        self.summary = "{}"
        self.lines: list[str] = []

    @property
    def history(self) -> list[dict[str, Any]]:
        """Rows of the run's curves, as they would be drawn."""
        return [json.loads(line) for line in self.lines]


@contextmanager
def wandb_server() -> Iterator[tuple[str, dict[str, Run]]]:
    """Run the server; yield its address and its runs by id."""
    runs: dict[str, Run] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            # What is uploaded as files is received and forgotten.
            said = json.loads(body) if self.command == "POST" and body else {}
            if "file_stream" in self.path:
                _stream(runs[self.path.split("/")[-2]], said.get("files") or {})
            address = f"http://{self.headers['Host']}"
            answer = json.dumps({"data": _answer(runs, said, address)}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer)

        do_GET = do_PUT = do_HEAD = do_POST

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Say nothing when the client hangs up."""

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", runs
        server.shutdown()


def _stream(run: Run, files: dict[str, Any]) -> None:
    for name, content in files.items():
        if name == "wandb-history.jsonl":
            run.lines[content["offset"] :] = content["content"]
        if name == "wandb-summary.json":
            run.summary = content["content"][-1]


def _answer(runs: dict[str, Run], said: dict[str, Any], address: str) -> dict[str, Any]:
    """Return the answer to a query; to one that is not known, nothing."""
    variables = said.get("variables") or {}
    found = re.search(r"(?:query|mutation)\s+(\w+)", said.get("query", ""))
    name = found[1] if found else None
    if name == "Viewer":
        return {"viewer": {"id": "u", "entity": "me", "username": "me", "flags": "{}"}}
    if name == "RunResumeStatus":
        run = runs.get(variables["name"])
        return {"model": {**PROJECT, "bucket": _bucket(variables["name"], run) if run else None}}
    if name == "UpsertBucket":
        run = runs.setdefault(variables["name"], Run())
        new, run.made = not run.made, True
        run.config = variables.get("config") or run.config
        bucket = {**_bucket(variables["name"], run), "project": PROJECT}
        return {"upsertBucket": {"bucket": bucket, "inserted": new}}
    if name == "CreateRunFiles":
        files = [{"name": file, "uploadUrl": f"{address}/{file}"} for file in variables["files"]]
        return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
    return {}


def _bucket(name: str, run: Run) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "displayName": name,
        "config": run.config,
        "summaryMetrics": run.summary,
        "historyLineCount": len(run.lines),
        "eventsLineCount": 0,
        "logLineCount": 0,
        "historyTail": json.dumps(run.lines[-1:]),
        "eventsTail": "[]",
        "tags": [],
        "wandbConfig": json.dumps({"t": 1}),
    }
