"""One session of requests, then WebSockets with its cookies: prints which instance answered each."""

import sys

import requests
from websockets.sync.client import connect

base = sys.argv[1]
with requests.Session() as session:
    session.trust_env = False
    seen = [session.get(f"http://{base}/whoami", timeout=30).text for _ in range(20)]
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in session.cookies)
    for _ in range(5):
        with connect(f"ws://{base}/ws", additional_headers={"Cookie": cookies}, proxy=None) as socket:
            seen.append(socket.recv(timeout=30))
print(" ".join(seen))
