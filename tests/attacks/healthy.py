"""A client that does nothing wrong, in a process of its own, so that only the gateway can keep it waiting.

For each line with a number on standard input it asks so many times, on a new connection each, and prints the seconds
each answer took as one line of JSON.
"""

from __future__ import annotations

import json
import socket
import sys
import time


def ask(port: int, request: bytes) -> float:
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    if b"[DONE]" not in answer:
        raise SystemExit(f"not an answer: {answer[:300]!r}")
    return time.perf_counter() - began


def main() -> None:
    port, token = int(sys.argv[1]), sys.argv[2]
    body = b'{"model": "openclaw/usual", "stream": true, "messages": [{"role": "user", "content": "hi"}]}'
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    for line in sys.stdin:
        print(json.dumps([ask(port, head.encode() + body) for _ in range(int(line))]), flush=True)


if __name__ == "__main__":
    main()
