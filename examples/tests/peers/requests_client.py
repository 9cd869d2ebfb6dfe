"""The `requests` library through a gateway: `requests_client.py URL`. Prints `ok`."""

import sys

import requests

url = sys.argv[1]
with requests.Session() as session:
    for _ in range(20):
        answer = session.get(url, timeout=10)
        assert (answer.status_code, answer.text) == (200, "hello"), answer
    posted = session.post(url, data=b"x" * 100_000, timeout=10)
    assert posted.status_code == 200
    # A generator has no length: the body goes in chunks.
    chunked = session.put(url, data=iter([b"a" * 1000] * 50), timeout=10)
    assert chunked.status_code == 200
    head = session.head(url, timeout=10)
    assert (head.status_code, head.headers["content-length"], head.text) == (200, "5", "")
    streamed = session.get(url, stream=True, timeout=10)
    assert b"".join(streamed.iter_content(2)) == b"hello"
print("ok")
