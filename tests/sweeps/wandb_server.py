"""A small server that answers the requests of W&B's client which make a sweep and run an agent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENTITY, PROJECT, SWEEP = "some-team", "some-project", "abc123"


class WandbServer(ThreadingHTTPServer):
    """Registers one sweep and hands out the given trials, then ends the agent."""

    def __init__(self, trials: list[dict[str, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.trials = trials
        self.registered: dict[str, Any] = {}
        self.running: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        project = {"id": "p", "name": PROJECT, "entity": {"id": "e", "name": ENTITY}}
        if "mutation UpsertSweep" in query:
            self.registered = variables
            sweep = {"name": SWEEP, "project": project}
            return {"upsertSweep": {"sweep": sweep, "configValidationWarnings": []}}
        if "query SweepWithRuns" in query:
            sweep = {"id": "s", "name": SWEEP, "state": "RUNNING", "runs": {"edges": []}}
            return {"project": {"sweep": {**sweep, "config": self.registered["config"]}}}
        if "mutation CreateAgent" in query:
            return {"createAgent": {"agent": {"id": "agent1"}}}
        if "mutation Heartbeat" in query:
            commands = self.commands(json.loads(variables["runState"]))
            return {"agentHeartbeat": {"agent": {"id": "agent1"}, "commands": json.dumps(commands)}}
        if "query Viewer" in query:
            teams = {"edges": [{"node": {"name": ENTITY}}]}
            return {"viewer": {"id": "v", "entity": ENTITY, "username": "u", "teams": teams}}
        return {}

    def commands(self, run_states: dict[str, bool]) -> list[dict[str, Any]]:
        if run_states:
            return []
        if not self.trials:
            return [{"type": "exit"}]
        values = {name: {"value": value} for name, value in self.trials.pop(0).items()}
        run_id = f"run{len(self.trials)}"
        return [{"type": "run", "run_id": run_id, "program": "roots", "args": values}]


class Handler(BaseHTTPRequestHandler):
    server: WandbServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = json.loads(body) if self.path == "/graphql" else {}
        data = self.server.answer(asked.get("query", ""), asked.get("variables") or {})
        text = json.dumps({"data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@contextmanager
def wandb_server(trials: list[dict[str, Any]]) -> Iterator[WandbServer]:
    with WandbServer(trials) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
