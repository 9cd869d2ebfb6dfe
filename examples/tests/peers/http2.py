"""HTTP/2 as hyperframe and hpack write it and h2 reads it, against a gateway.

    http2.py PORT       judges the gateway on that port
    http2.py --control  judges a server that takes everything: every case must find fault with it

Cases are numbered by the sections of RFC 9113. One line for each: its name, a tab, `ok` or what was seen.
"""

import socket
import struct
import sys
import threading

import h2.config
import h2.connection
import h2.events
import h2.settings
import hpack
from hyperframe import frame as frames

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATIENCE = 10


class Peer:
    """A connection that sends any frame and reads what comes."""

    def __init__(self, port, settings=None):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.settimeout(PATIENCE)
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.bytes = b""
        self.send(PREFACE, frames.SettingsFrame(0, settings=settings or {}))

    def send(self, *parts):
        data = b"".join(part if isinstance(part, bytes) else part.serialize() for part in parts)
        self.socket.sendall(data)

    def headers(self, stream, fields, end=True, flags=("END_HEADERS",)):
        made = frames.HeadersFrame(stream, self.encoder.encode(fields))
        for flag in flags + (("END_STREAM",) if end else ()):
            made.flags.add(flag)
        return made

    def fill(self, length):
        while len(self.bytes) < length:
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError("closed")
            self.bytes += piece

    def read(self):
        """The next frame; ConnectionError at the end."""
        self.fill(9)
        made, length = frames.Frame.parse_frame_header(memoryview(self.bytes[:9]))
        self.fill(9 + length)
        made.parse_body(memoryview(self.bytes[9 : 9 + length]))
        self.bytes = self.bytes[9 + length :]
        if isinstance(made, frames.SettingsFrame) and "ACK" not in made.flags:
            self.send(frames.SettingsFrame(0, flags=["ACK"]))
        return made

    def verdict(self, stream=None):
        """What becomes of a request: its status, `reset`, `goaway` or `closed`."""
        try:
            while True:
                made = self.read()
                if isinstance(made, frames.GoAwayFrame):
                    return "goaway"
                if stream is not None and made.stream_id != stream:
                    continue
                if isinstance(made, frames.RstStreamFrame):
                    return "reset"
                if isinstance(made, frames.HeadersFrame):
                    return dict(self.decoder.decode(made.data))[":status"]
        except (ConnectionError, OSError) as error:
            return "silence" if isinstance(error, TimeoutError) else "closed"


def request(path="/good", method="GET", more=(), scheme="http", authority="h"):
    first = [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path)]
    return first + list(more)


def is_refused(saw):
    return saw in ("reset", "goaway", "closed") or saw.startswith("4")


def is_connection_error(saw):
    return saw in ("goaway", "closed")


CASES = []


def case(name):
    def keep(judge):
        CASES.append((name, judge))
        return judge

    return keep


def malformed(name, fields, body=None):
    """A request that must reach nobody."""

    def judge(port):
        peer = Peer(port)
        peer.send(peer.headers(1, fields, end=body is None))
        if body is not None:
            data = frames.DataFrame(1, body)
            data.flags.add("END_STREAM")
            peer.send(data)
        saw = peer.verdict(1)
        return is_refused(saw) or saw

    CASES.append((name, judge))


SPLIT = "/x HTTP/1.1\r\nhost: h\r\n\r\nGET /smuggled"
for name, value in [
    ("transfer-encoding", "chunked"),
    ("connection", "keep-alive"),
    ("upgrade", "h2c"),
    ("proxy-connection", "keep-alive"),
]:
    malformed(f"8.2.2 {name}", request("/smuggled", more=[(name, value)]))
malformed("8.2.2 transfer-encoding with a body", request("/smuggled", "POST", [("transfer-encoding", "chunked")]),
          b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n")
for name, text in [("CR LF", "1\r\nx-b: 2"), ("LF", "1\nx-b: 2"), ("CR", "1\rx"), ("NUL", "1\0")]:
    malformed(f"8.2.1 {name} in a value", request("/smuggled", more=[("x-a", text)]))
for name in ["X-Upper", "x a", "x:a", "x\r\na", ""]:
    malformed(f"8.2.1 name {name!r}", request("/smuggled", more=[(name, "1")]))
malformed("8.3.1 a second request in the path", request(SPLIT))
malformed("8.3.1 a second request in the method", request("/smuggled", f"GET {SPLIT} HTTP/1.1\r\nx: "))
malformed("8.3.1 CR LF in the authority", request("/smuggled", authority="h\r\nx-b: 2"))
malformed("8.3.1 a path that is none", request("smuggled"))
malformed("8.3.1 an empty path", request(""))
malformed("8.3 a field before the pseudo fields", [("x-a", "1")] + request("/smuggled"))
malformed("8.3 a pseudo field twice", request("/smuggled") + [(":path", "/smuggled")])
malformed("8.3 a pseudo field of answers", request("/smuggled") + [(":status", "200")])
malformed("8.3 an unknown pseudo field", request("/smuggled") + [(":else", "1")])
malformed("8.3.1 no method", request("/smuggled")[1:])
malformed("8.1.1 a length that is too large", request("/smuggled", "POST", [("content-length", "9")]), b"abc")
malformed("8.1.1 a length that is too small", request("/smuggled", "POST", [("content-length", "1")]), b"abc")
malformed("8.1.1 two lengths", request("/smuggled", "POST", [("content-length", "3"), ("content-length", "4")]), b"abc")
malformed("8.5 CONNECT to elsewhere", [(":method", "CONNECT"), (":authority", "elsewhere:80")])


def broken(name, *parts):
    """Frames that end the connection."""

    def judge(port):
        peer = Peer(port)
        peer.send(*(part(peer) if callable(part) else part for part in parts))
        saw = peer.verdict()
        return is_connection_error(saw) or saw

    CASES.append((name, judge))


def raw(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


good = lambda peer: peer.headers(1, request())
broken("4.2 a frame beyond the largest size", lambda peer: peer.headers(1, request(method="POST"), end=False), raw(0, 1, 1, b"x" * 16385))
broken("4.3 fields that do not decompress", raw(1, 5, 1, b"\xff\xff\xff\xff\xff\xff"))
broken("5.1 data on an idle stream", raw(0, 1, 1, b"x"))
broken("5.1.1 an even stream", lambda peer: peer.headers(2, request("/smuggled")))
broken("6.4 a reset of an idle stream", raw(3, 0, 1, struct.pack(">I", 8)))
broken("6.5 settings of an odd length", raw(4, 0, 0, b"12345"))
broken("6.5 an acknowledgement with settings", raw(4, 1, 0, b"\0\1\0\0\0\0"))
broken("6.5.2 a window that is too large", raw(4, 0, 0, struct.pack(">HI", 4, 1 << 31)))
broken("6.5.2 a frame size that is too small", raw(4, 0, 0, struct.pack(">HI", 5, 1)))
broken("6.7 a ping of seven bytes", raw(6, 0, 0, b"1234567"))
broken("6.7 a ping on a stream", raw(6, 0, 1, b"12345678"))
broken("6.9 an increment of zero", raw(8, 0, 0, struct.pack(">I", 0)))
broken("6.9.1 a window beyond its limit", raw(8, 0, 0, struct.pack(">I", (1 << 31) - 1)))
broken("6.10 a continuation of nothing", raw(9, 4, 1, b""))
broken("6.10 another frame within a block", lambda peer: peer.headers(1, request("/smuggled"), flags=()), raw(6, 0, 0, b"12345678"))
broken("8.4 a promise from a client", raw(5, 4, 1, struct.pack(">I", 2)))


def flood(name, make, count):
    """The flood ends, or costs nobody else anything."""

    def judge(port):
        peer = Peer(port)
        peer.socket.settimeout(1)
        try:
            for number in range(count):
                peer.send(*make(peer, number))
        except OSError:
            pass
        saw = polite(port)
        return saw is True or f"others: {saw}"

    CASES.append((name, judge))


def ended(name, make, count):
    """The flood ends the connection."""

    def judge(port):
        peer = Peer(port)
        try:
            for number in range(count):
                peer.send(*make(peer, number))
        except OSError:
            return polite(port)
        saw = peer.verdict(stream=0)
        return polite(port) if is_connection_error(saw) else saw

    CASES.append((name, judge))


def reset_stream(peer, number):
    stream = 2 * number + 1
    return peer.headers(stream, request("/reset")), frames.RstStreamFrame(stream, error_code=8)


def continue_on(peer, number):
    if number == 0:
        return (peer.headers(1, request("/smuggled"), flags=()),)
    return (raw(9, 0, 1, b"\0\x03x-a\x20" + b"a" * 32),)


ended("10.5 rapid reset", reset_stream, 3000)
ended("10.5 continuations without end", continue_on, 3000)
flood("10.5 settings without end", lambda peer, number: [frames.SettingsFrame(0, settings={3: 100})] * 100, 200)
flood("10.5 pings without end", lambda peer, number: [frames.PingFrame(0, b"12345678")] * 100, 200)
flood("10.5 empty data without end", lambda peer, number: [peer.headers(1, request(method="POST"), end=False)] if number == 0 else [raw(0, 0, 1, b"")] * 100, 200)


def polite(port, body=None, piece=1, window=None):
    """A request by the h2 library. True, or what was seen."""
    stream = socket.create_connection(("127.0.0.1", port), PATIENCE)
    stream.settimeout(PATIENCE)
    peer = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    peer.initiate_connection()
    if window is not None:
        peer.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
    fields = request(method="POST" if body else "GET")
    peer.send_headers(1, fields, end_stream=not body)
    for at in range(0, len(body or b""), piece):
        peer.send_data(1, body[at : at + piece], end_stream=at + piece >= len(body))
    stream.sendall(peer.data_to_send())
    status, seen = None, b""
    try:
        while True:
            data = stream.recv(65536)
            if not data:
                return f"closed after {status} {seen!r}"
            for event in peer.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    status = dict(event.headers)[":status"]
                    if window == 0:
                        # Only now may the body come, and only byte by byte.
                        peer.increment_flow_control_window(1, 1)
                elif isinstance(event, h2.events.DataReceived):
                    seen += event.data
                    if window == 0 and event.stream_ended is None:
                        peer.increment_flow_control_window(1, 1)
                elif isinstance(event, h2.events.StreamEnded):
                    return (status, seen) == ("200", b"hello") or f"{status} {seen!r}"
                elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                    return type(event).__name__
            stream.sendall(peer.data_to_send())
    except OSError as error:
        return f"{type(error).__name__} after {status} {seen!r}"


@case("8.1 a request and its answer")
def whole(port):
    return polite(port)


@case("6.1 a body in single bytes")
def single_bytes(port):
    return polite(port, body=b"0123456789" * 20)


@case("6.9.2 an answer into a window of zero, opened byte by byte")
def zero_window(port):
    return polite(port, window=0)


def lenient(listener):
    """Answers 200 to whatever ends a stream, and minds nothing."""
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=take_everything, args=(stream,), daemon=True).start()


def take_everything(stream):
    data = b""
    try:
        stream.sendall(frames.SettingsFrame(0).serialize())
        stream.recv(len(PREFACE), socket.MSG_WAITALL)
        while True:
            piece = stream.recv(65536)
            if not piece:
                return
            data += piece
            while len(data) >= 9:
                length = int.from_bytes(data[:3], "big")
                if len(data) < 9 + length:
                    break
                kind, data = data[3], data[9 + length :]
                if kind != 4:
                    # The answer to stream 1, whatever was asked.
                    stream.sendall(raw(1, 5, 1, b"\x88"))
    except OSError:
        pass


def main():
    if sys.argv[1] == "--control":
        listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=lenient, args=(listener,), daemon=True).start()
        port = listener.getsockname()[1]
        global PATIENCE
        PATIENCE = 0.5
    else:
        port = int(sys.argv[1])
    for name, judge in CASES:
        try:
            saw = judge(port)
        except Exception as error:  # a case that cannot be judged has not passed
            saw = f"{type(error).__name__}: {error}"
        print(f"{name}\t{'ok' if saw is True else saw}", flush=True)


main()
