"""Interim answers as the `h11` library reads them: `interim.py PORT [EXPECTED...]`.

Prints what was seen of each request, `case<TAB>ok` or what went wrong.
"""

import socket
import sys

import h11


def ask(port, request, body=None):
    """All events of one request: the statuses of interim answers, the final one, the body."""
    connection = h11.Connection(our_role=h11.CLIENT)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as stream:
        stream.sendall(connection.send(request))
        waits = any(name == b"expect" for name, _ in request.headers)
        if body is not None and not waits:
            stream.sendall(connection.send(h11.Data(data=body)))
        if not waits:
            stream.sendall(connection.send(h11.EndOfMessage()))
        interim, links, data = [], [], b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(stream.recv(65536))
            elif isinstance(event, h11.InformationalResponse):
                interim.append(event.status_code)
                links += [value for name, value in event.headers if name == b"link"]
                if event.status_code == 100:
                    stream.sendall(connection.send(h11.Data(data=body)))
                    stream.sendall(connection.send(h11.EndOfMessage()))
            elif isinstance(event, h11.Response):
                final = event.status_code
            elif isinstance(event, h11.Data):
                data += event.data
            elif isinstance(event, h11.EndOfMessage):
                return interim, links, final, bytes(data)
            else:
                raise AssertionError(event)


def request(method, target, *headers):
    return h11.Request(method=method, target=target, headers=[("Host", "h"), *headers])


def main():
    port = int(sys.argv[1])
    get = request("GET", "/hints")
    post = request("POST", "/hints", ("Content-Length", "3"))
    waiting = request("PUT", "/hints", ("Content-Length", "3"), ("Expect", "100-continue"))
    hints = ([103, 103, 102], [b"</a>; rel=preload"] * 2, 200, b"hello")
    cases = {
        "none": (request("GET", "/none"), None, ([], [], 200, b"hello")),
        "hints": (get, None, hints),
        "hints with a body": (post, b"abc", hints),
        "hints and a continuation": (waiting, b"abc", ([100, *hints[0]], *hints[1:])),
    }
    for name, (asked, body, expected) in cases.items():
        seen = ask(port, asked, body)
        print(f"{name}\t{'ok' if seen == expected else seen}")


main()
