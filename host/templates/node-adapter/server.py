#!/usr/bin/env python3
"""A process manager to try the adapter on: two programs, two routes. Usage: python3 server.py [PORT]"""
import json
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

PROGRAMS = ("clock", "worker")
children = {}


def start(name):
    # It runs until its input is closed, so it ends when we do, however that happens.
    children[name] = subprocess.Popen(["cat"], stdin=subprocess.PIPE)


def process(name):
    child = children.get(name)
    is_running = child is not None and child.poll() is None
    return {"name": name, "state": "running" if is_running else "stopped", "pid": child.pid if is_running else None}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        found = [process(name) for name in PROGRAMS]
        self.answer(200 if self.path == "/processes" else 404, {"manager": "server.py", "processes": found})

    def do_POST(self):
        parts = self.path.split("/")
        if len(parts) != 4 or parts[1] != "processes" or parts[2] not in PROGRAMS or parts[3] not in ("start", "stop"):
            return self.answer(404, {"error": "there is no such process"})
        name, is_running = parts[2], process(parts[2])["state"] == "running"
        if (parts[3] == "start") == is_running:
            return self.answer(409, {"error": "it is so already"})
        if parts[3] == "start":
            start(name)
        else:
            children[name].terminate()
            children[name].wait()
        self.answer(200, process(name))

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


signal.signal(signal.SIGTERM, lambda *_: sys.exit())
start("clock")
try:
    with HTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 9900), Handler) as server:
        print(f"a process manager at http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
except KeyboardInterrupt:
    pass
finally:
    for child in children.values():
        child.kill()
