#!/usr/bin/env python3
"""What does one proxied request cost, next to nginx in the same run?

Counts, not times, so that a loaded machine says the same as a quiet one:

- user instructions per request, by callgrind: the difference of two runs of
  different length, so that start-up and warm-up cancel out;
- system calls per request, by strace, the same way;
- on demand (`--measure cpu`), microseconds of CPU time per request, user and system, of the
  untraced program: times, so only a quiet machine says something;
- resident bytes per idle connection (PSS), after each has served one request.

The kernel's own instructions are not in it: `emulated.py` beside it counts both. Everything runs on loopback; nginx is the upstream and the peer.

    CARGO_PROFILE_RELEASE_LTO=thin CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 \\
        cargo build --release -p lb-core --example serve_gateway
    python3 benches/proxy/cost.py target/release/examples/serve_gateway

Needs: nginx, valgrind, strace (apt-get install nginx valgrind strace).
"""
import argparse
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time

from contestants import BODY, NO_REP_MOVSB, PORT, contestants, upstream

KINDS = ("get128", "get16k", "post1k", "bound128")
# What a client sends that nobody has bound: as long as what our gateway gives.
STRANGER = "lb_session=" + "A" * 77


def request(kind, cookie=STRANGER):
    """The bytes that wrk sends; of the kind bound128 with a cookie."""
    method, path = ("POST", "/s") if kind == "post1k" else ("GET", "/big" if kind == "get16k" else "/s")
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\n"
    if kind == "post1k":
        head += f"Content-Type: text/plain\r\nContent-Length: {len(BODY)}\r\n"
    if kind == "bound128":
        head += f"Cookie: {cookie}\r\n"
    return head.encode() + b"\r\n" + (BODY if kind == "post1k" else b"")


class Answer:
    """One answer with a length, as it comes in."""

    def __init__(self):
        self.bytes, self.size = bytearray(), None

    def take(self, data):
        self.bytes += data
        if self.size is None and (end := self.bytes.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.bytes[:end])
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode(errors="replace"))
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            self.size = end + 4 + int(length[1])
        return self.size is not None and len(self.bytes) >= self.size


def connect():
    stream = socket.create_connection(("127.0.0.1", PORT), 30)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def exchange(stream, data):
    """One request and its answer."""
    stream.sendall(data)
    answer = Answer()
    while True:
        more = stream.recv(65536)
        if not more:
            raise RuntimeError("closed early")
        if answer.take(more):
            return bytes(answer.bytes)


def load(data, count, connections):
    """Sends `count` requests, one at a time on each connection."""
    selector, left = selectors.DefaultSelector(), count
    for _ in range(connections):
        stream = connect()
        stream.setblocking(True)
        selector.register(stream, selectors.EVENT_READ, Answer())
        stream.sendall(data)
        left -= 1
    open_ones = connections
    while open_ones:
        for key, _ in selector.select(60):
            more = key.fileobj.recv(65536)
            if not more:
                raise RuntimeError("closed early")
            if not key.data.take(more):
                continue
            if left > 0:
                left -= 1
                selector.modify(key.fileobj, selectors.EVENT_READ, Answer())
                key.fileobj.sendall(data)
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()
                open_ones -= 1


def wait_for(process):
    end = time.time() + 60
    while time.time() < end and process.poll() is None:
        try:
            with connect() as stream:
                return exchange(stream, request("get128"))
        except (OSError, RuntimeError):
            time.sleep(0.1)
    raise RuntimeError("did not answer")


class Running:
    """A program that is ended at the end, with whatever it started."""

    def __init__(self, command, log):
        self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                                        env={**os.environ, "GLIBC_TUNABLES": NO_REP_MOVSB})

    def __enter__(self):
        return self.process

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def instructions(command, data, count, folder, profile):
    out = profile or os.path.join(folder, "callgrind.out")
    log_path = os.path.join(folder, "log")
    tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    with open(log_path, "wb") as log, Running(tool + command, log) as process:
        wait_for(process)
        load(data, A.few, A.connections)
        # What came so far differs from run to run: a recorder calibrates its clock for millions of instructions.
        subprocess.run(["callgrind_control", "--zero", str(process.pid)], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        load(data, count, A.connections)
    with open(out) as profile:
        return int(re.search(r"^(?:summary|totals): (\d+)", profile.read(), re.M)[1])


CALLS = {"receives": {"recvfrom", "read", "readv", "recvmsg"},
         "sends": {"sendto", "write", "writev", "sendmsg"},
         "waits": {"epoll_wait", "epoll_pwait"}}


def system_calls(command, data, count, folder):
    out = os.path.join(folder, "strace.out")
    with open(os.devnull, "wb") as log, Running(["strace", "-f", "-c", "-U", "name,calls", "-o", out] + command, log) as process:
        wait_for(process)
        load(data, count, A.connections)
    counts = {}
    with open(out) as lines:
        for line in lines:
            if (words := line.split()) and len(words) == 2 and words[1].isdigit() and words[0] != "total":
                counts[words[0]] = int(words[1])
    return counts


def cpu_seconds(process):
    """What the program has used, in user and kernel."""
    with open(f"/proc/{process.pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return [int(ticks) / os.sysconf("SC_CLK_TCK") for ticks in fields[11:13]]


def cpu_time(command, data):
    with open(os.devnull, "wb") as log, Running(command, log) as process:
        wait_for(process)
        load(data, A.few, A.connections)
        before = cpu_seconds(process)
        load(data, A.timed, A.connections)
        return [(after - first) / A.timed * 1e6 for first, after in zip(before, cpu_seconds(process))]


def resident(process):
    with open(f"/proc/{process.pid}/smaps_rollup") as rollup:
        return int(re.search(r"^Pss:\s+(\d+)", rollup.read(), re.M)[1]) * 1024


def idle_bytes(command, data):
    with open(os.devnull, "wb") as log, Running(command, log) as process:
        wait_for(process)
        streams, seen = [], {}
        for count in (64, 1000):
            while len(streams) < count:
                streams.append(connect())
                exchange(streams[-1], data)
            time.sleep(A.settle)
            seen[count] = resident(process)
        for stream in streams:
            stream.close()
    return (seen[1000] - seen[64]) / (1000 - 64)


def per_request(measure):
    """The same for a short and a long load; the difference is the request's."""
    few, many = measure(A.few), measure(A.many)
    if isinstance(few, dict):
        per = {name: (many.get(name, 0) - few.get(name, 0)) / (A.many - A.few) for name in many}
        return {name: value for name, value in per.items() if value >= 0.005}
    return (many - few) / (A.many - A.few)


def cookie_of(command):
    """The cookie that a client is given, if any."""
    with open(os.devnull, "wb") as log, Running(command, log) as process:
        answer = wait_for(process)
    found = re.search(rb"(?i)\r\nset-cookie: *([^;\r]+)", answer)
    return found[1].decode() if found else STRANGER


def report(name, command, folder, base):
    cookie = cookie_of(command)
    for kind in A.kinds.split(","):
        data = request(kind, cookie)
        profile = A.profile and f"{A.profile}.{name}.{kind}"
        row = [name, kind, f"{len(data)} B"]
        if "insn" in A.measure:
            count = per_request(lambda n: instructions(command, data, n, folder, profile))
            base.setdefault(kind, count)
            row += [f"{count:.0f} user instructions", f"{count / base[kind]:.3f} x"]
        if "cpu" in A.measure:
            user, system = cpu_time(command, data)
            both = base.setdefault(("cpu", kind), user + system)
            row += [f"{user:.1f} + {system:.1f} us", f"{(user + system) / both:.3f} x"]
        if "calls" in A.measure:
            calls = per_request(lambda n: system_calls(command, data, n, folder))
            row += [f"{kind} {sum(calls.get(one, 0) for one in names):.2f}" for kind, names in CALLS.items()]
            named = set().union(*CALLS.values())
            row += [f"{one} {value:.2f}" for one, value in sorted(calls.items()) if one not in named]
        print(" | ".join(row), flush=True)
    if "idle" in A.measure:
        print(f"{name} | idle | {idle_bytes(command, request('get128')):.0f} bytes per connection", flush=True)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("gateway", help="the example serve_gateway")
parser.add_argument("--only", default="nginx,bare,full,axum-bare,axum-full",
                    help="nginx first: ratios are to the first; full: health, outliers, affinity, recorder")
parser.add_argument("--kinds", default=",".join(KINDS))
parser.add_argument("--measure", default="insn,calls,idle")
# Start-up differs by a million from run to run, a recorder's clock is why: many requests dilute it.
parser.add_argument("--few", type=int, default=2000)
parser.add_argument("--many", type=int, default=12000)
parser.add_argument("--timed", type=int, default=30000, help="requests whose CPU time is read")
parser.add_argument("--connections", type=int, default=16)
parser.add_argument("--settle", type=float, default=0.5, help="seconds before idle connections are weighed")
parser.add_argument("--profile", help="keep callgrind's output under this name")
A = parser.parse_args()

with tempfile.TemporaryDirectory(prefix="proxy-cost-") as here, open(os.devnull, "wb") as nowhere:
    with Running(upstream(here), nowhere):
        costs = {}
        for contestant, words in contestants(here, A.gateway, A.only):
            try:
                report(contestant, words, here, costs)
            except RuntimeError as error:
                sys.exit(f"{contestant}: {error}")
