"""A worker that speaks as one of an endpoint does, loads nothing, and answers with its plan's first version.

A model's folder says how it behaves: `refuses` cannot be loaded, `dies` ends
the process, `hangs` never stops, any other is well. `/slow` answers once the
file that stands in FAKE_GO is there.
"""

import argparse
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

state: dict[str, Any] = {"plan": None, "running": 0}


def answer(connection: socket.socket) -> None:
    with connection:
        head = connection.recv(4096).decode()
        version = state["plan"]["models"][0]["version"]
        while head.startswith("GET /slow") and not Path(os.environ["FAKE_GO"]).exists():
            time.sleep(0.01)
        body = json.dumps({"version": version, "pid": os.getpid()}).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    state["running"] -= 1


def accept(listen: socket.socket) -> None:
    while True:
        connection, _ = listen.accept()
        state["running"] += 1
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--control", type=int)
    parser.add_argument("--listen", type=int)
    given = parser.parse_args()
    control, listen = socket.socket(fileno=given.control), socket.socket(fileno=given.listen)
    listen.setblocking(True)
    lines = control.makefile("r")

    def say(said: str, **more: Any) -> None:
        control.sendall(json.dumps({"said": said, **more}).encode() + b"\n")

    while line := lines.readline():
        told = json.loads(line)
        if told["do"] == "stop":
            break
        generation, folder = told["plan"]["generation"], told["plan"]["models"][0]["folder"]
        if folder == "dies":
            os._exit(7)
        if folder == "refuses":
            say("failed", generation=generation, error="the model is broken")
            if told["do"] == "start":
                sys.exit(3)
            continue
        state["plan"] = told["plan"]
        if told["do"] == "start":
            threading.Thread(target=accept, args=(listen,), daemon=True).start()
        say("ready" if told["do"] == "start" else "planned", generation=generation)
    while state["running"] or (state["plan"] and state["plan"]["models"][0]["folder"] == "hangs" and line):
        time.sleep(0.01)
    os._exit(0)


if __name__ == "__main__":
    main()
