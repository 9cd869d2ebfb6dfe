#!/usr/bin/env python3
"""Awkward cases for the pure algorithms, with answers worked out independently.

Each answer comes from the rule as its source states it (Envoy: maglev_lb.cc, ring_hash_lb.cc,
load_balancer_impl.cc, outlier_detection_impl.cc; nginx: ngx_http_upstream_round_robin.c,
ngx_http_upstream_hash_module.c), in the plainest way and with exact fractions where that matters.

    python3 awkward-cases.py > awkward-cases.json
"""

import json
import math
import zlib
from fractions import Fraction

MASK = (1 << 64) - 1
P1, P2, P3, P4, P5 = (
    11400714785074694791,
    14029467366897019727,
    1609587929392839161,
    9650029242287828579,
    2870177450012600261,
)


def rotl(x, r):
    return ((x << r) | (x >> (64 - r))) & MASK


def xxh64(data, seed):
    """xxHash, doc/xxhash_spec.md."""

    def turn(acc, lane):
        return rotl((acc + lane * P2) & MASK, 31) * P1 & MASK

    n, at = len(data), 0
    word = lambda i, size: int.from_bytes(data[i : i + size], "little")
    if n >= 32:
        accs = [(seed + P1 + P2) & MASK, (seed + P2) & MASK, seed, (seed - P1) & MASK]
        while at + 32 <= n:
            accs = [turn(acc, word(at + 8 * i, 8)) for i, acc in enumerate(accs)]
            at += 32
        h = sum(rotl(acc, r) for acc, r in zip(accs, (1, 7, 12, 18))) & MASK
        for acc in accs:
            h = ((h ^ turn(0, acc)) * P1 + P4) & MASK
    else:
        h = (seed + P5) & MASK
    h = (h + n) & MASK
    while at + 8 <= n:
        h = (rotl(h ^ turn(0, word(at, 8)), 27) * P1 + P4) & MASK
        at += 8
    if at + 4 <= n:
        h = (rotl(h ^ word(at, 4) * P1 & MASK, 23) * P2 + P3) & MASK
        at += 4
    while at < n:
        h = rotl(h ^ data[at] * P5 & MASK, 11) * P1 & MASK
        at += 1
    h = (h ^ h >> 33) * P2 & MASK
    h = (h ^ h >> 29) * P3 & MASK
    return h ^ h >> 32


def smooth(weights, picks):
    counters, order = [0] * len(weights), []
    able = [i for i, w in enumerate(weights) if w > 0]
    for _ in range(picks if able else 0):
        for i in able:
            counters[i] += weights[i]
        best = max(able, key=lambda i: (counters[i], -i))
        counters[best] -= sum(weights)
        order.append(best)
    return order


def maglev(endpoints, size):
    most = max(w for _, w in endpoints)
    table, k, turns, free, round_ = [None] * size, {}, {}, size, 0
    while free:
        round_ += 1
        for i, (name, weight) in enumerate(endpoints):
            if Fraction(round_ * weight, most) < turns.get(i, 0) or not free:
                continue
            turns[i] = turns.get(i, 0) + 1
            offset = xxh64(name.encode(), 0) % size
            skip = xxh64(name.encode(), 1) % (size - 1) + 1
            while True:
                place = (offset + skip * k.get(i, 0)) % size
                k[i] = k.get(i, 0) + 1
                if table[place] is None:
                    table[place] = i
                    free -= 1
                    break
    return table


def ring(names, points):
    placed = [(xxh64(f"{name}_{i}".encode(), 0), name) for name in names for i in range(points)]
    return sorted(placed, key=lambda point: point[0])


def owner(points, hash_):
    return next((name for point, name in points if point >= hash_), points[0][1])


def nginx_name(server):
    """Host and port as ngx_http_upstream_init_chash tells them apart."""
    if server[:5].lower() == "unix:":
        return server[5:], ""
    for j in range(len(server)):
        c = server[len(server) - j - 1]
        if c == ":":
            return server[: len(server) - j - 1], server[len(server) - j :]
        if not "0" <= c <= "9":
            break
    return server, ""


def ketama(servers):
    placed = []
    for name, weight in servers:
        host, port = nginx_name(name)
        previous = 0
        for _ in range(160 * weight):
            text = host.encode() + b"\0" + port.encode() + previous.to_bytes(4, "little")
            previous = zlib.crc32(text)
            placed.append((previous, name))
    return sorted(placed, key=lambda point: point[0])


def ewma(decay, events):
    estimate, last, out = None, None, []
    for t, rtt in events:
        keep = math.exp(-(t - last) / decay) if last is not None else None
        if estimate is None:
            estimate = rtt
        elif rtt is None:
            estimate *= keep
        elif rtt > estimate:
            estimate = rtt
        else:
            estimate = estimate * keep + rtt * (1 - keep)
        if estimate is not None:
            last = t
        out.append(estimate)
    return out


def outliers(rates, requests, factor, min_hosts, min_requests):
    hosts = [i for i, n in enumerate(requests) if n >= min_requests]
    if not hosts or len(hosts) < min_hosts:
        return []
    exact = [Fraction(str(rates[i])) for i in hosts]
    mean = sum(exact) / len(exact)
    spread = math.sqrt(sum((rate - mean) ** 2 for rate in exact) / len(exact))
    return [i for i, rate in zip(hosts, exact) if float(rate) < float(mean) - factor * spread]


def spill(tiers):
    able = [min(100, 140 * healthy // total) if total else 0 for healthy, total in tiers]
    whole = min(100, sum(able))
    if not whole:
        return [100] + [0] * (len(tiers) - 1)
    left, shares = 100, []
    for each in able:
        shares.append(min(left, each * 100 // whole))
        left -= shares[-1]
    shares[next(i for i, each in enumerate(able) if each)] += left
    return shares


def budget(ratio, ttl, per_second, events):
    deposits, withdrawals, out = [], [], []
    exact = lambda value: Fraction(str(value))
    for t, kind, n in events:
        live = lambda of: sum(count for at, count in of if exact(t) - exact(at) < exact(ttl))
        if kind == "request":
            deposits.append((t, n))
            out.append(None)
            continue
        most = math.floor(exact(ratio) * live(deposits)) + exact(per_second) * exact(ttl)
        taken = 0
        while taken < n and live(withdrawals) + taken < most:
            taken += 1
        withdrawals.append((t, taken))
        out.append(taken)
    return out


CASES = []


def case(kind, name, given, expected):
    CASES.append(
        {"name": name, "kind": kind, "provenance": "derived", "input": given, "expected": expected}
    )


def named(field, entries):
    return [{field: name, "weight": weight} for name, weight in entries]


def all_cases():
    for name, weights, picks in [
        ("one", [3], 4),
        ("nobody", [0, 0], 5),
        ("the only one with weight", [0, 0, 2], 3),
        ("all tie", [1, 1, 1, 1], 9),
        ("a huge weight", [1, 4294967295, 2], 12),
        ("all huge", [4294967295, 4294967295, 4294967294], 10),
    ]:
        given = {"weights": weights, "picks": picks}
        case("smooth_weighted_round_robin", name, given, {"sequence": smooth(weights, picks)})

    for name, entries, size in [
        ("one endpoint", [("alone:80", 7)], 5),
        ("more endpoints than places", [(f"10.0.0.{i}:80", 1) for i in range(9)], 7),
        ("thirds and sevenths", [("a", 3), ("b", 7), ("c", 21)], 101),
        ("weights that no binary fraction has", [(f"h{i}", 1 + 48 * (i % 2)) for i in range(5)], 211),
        ("one in ten thousand", [("light", 1), ("heavy", 10000)], 251),
        ("IPv6 and text beyond ASCII", [("[2001:db8::1]:443", 2), ("\u00fc.example:1", 3)], 31),
        ("the smallest prime", [("x", 1), ("y", 1)], 3),
    ]:
        given = {"endpoints": named("id", entries), "table_size": size}
        case("maglev", name, given, {"table": maglev(entries, size)})

    for name, names, points in [
        ("one endpoint with one point", ["alone"], 1),
        ("hashes at, before and after each point", ["a", "b", "c"], 3),
        ("names that are beginnings of others", ["sim", "sim_1", "sim_1_1"], 12),
    ]:
        placed = ring(names, points)
        hashes = [0, MASK] + [(p + d) & MASK for p, _ in placed for d in (-1, 0, 1)]
        given = {
            "endpoints": [{"id": name} for name in names],
            "points_per_endpoint": points,
            "lookup_hashes": [str(each) for each in hashes],
        }
        case("ring_hash", name, given, {"owners": [owner(placed, each) for each in hashes]})

    keys = ["", "/", "/g", "\u00fc", "a" * 300] + [f"/key/{i}" for i in range(30)]
    for name, servers in [
        ("IPv6 with ports", [("[::1]:80", 1), ("[2001:db8::1]:80", 1), ("[2001:db8::2]:80", 2)]),
        ("IPv6 without ports", [("[::1]", 1), ("[2001:db8::1]", 1), ("[2001:db8::2]", 1)]),
        ("sockets", [("unix:/run/a.sock", 1), ("UNIX:/run/b.sock", 2), ("unix:/run/c:80", 1)]),
        ("names without ports", [("a.example", 1), ("b.example", 2)]),
        ("ports that are none", [("a:http", 1), ("b:", 1), ("c:80x", 1), ("d:080", 1)]),
        ("one server", [("127.0.0.1:1", 3)]),
        ("weight 0 beside 1", [("127.0.0.1:1", 0), ("127.0.0.1:2", 1)]),
        ("one port beyond the other's name", [("10.0.0.1:8", 1), ("10.0.0.1:80", 1), ("10.0.0.1:800", 1)]),
    ]:
        placed = ketama(servers)
        found = [owner(placed, zlib.crc32(key.encode())) for key in keys]
        given = {"servers": named("address", servers), "keys": keys}
        case("ketama", name, given, {"owners": found})

    for name, decay, events in [
        ("a silence of thirteen decays", 10000, [[0, 100.0], [130000, None]]),
        ("a silence of thirty decays, then an answer", 1000, [[0, 250.0], [30000, None], [30000, 0.5]]),
        ("silence before anything is known", 5000, [[0, None], [10, None], [20, 7.0]]),
        ("two answers in one moment", 10000, [[5, 80.0], [5, 20.0], [5, 90.0], [5, 90.0]]),
        ("an answer in no time", 10000, [[0, 10.0], [1000, 0.0], [2000, 0.0]]),
        ("many small steps", 10000, [[0, 100.0]] + [[90 * i, None] for i in range(1, 40)]),
    ]:
        given = {"decay_ms": decay, "events": events}
        case("peak_ewma", name, given, {"estimates_ms": ewma(decay, events)})

    for name, rates, requests, factor, hosts, least in [
        ("one request short of enough", [1, 1, 1, 1, 0.0], [100, 100, 100, 100, 99], 1.9, 5, 100),
        ("exactly enough hosts and requests", [1, 1, 1, 1, 0.0], [100] * 5, 1.9, 5, 100),
        ("two bad ones hide each other", [1, 1, 1, 0.0, 0.0], [100] * 5, 1.9, 5, 100),
        ("all equally bad", [0.25] * 6, [1000] * 6, 1.9, 5, 100),
        ("below the mean is enough", [0.5, 0.75, 1.0], [1, 1, 1], 0, 1, 1),
        ("one host alone", [0.0], [100], 1.9, 1, 100),
    ]:
        given = {
            "success_rates": rates,
            "requests": requests,
            "stdev_factor": factor,
            "min_hosts": hosts,
            "min_requests": least,
        }
        found = outliers(rates, requests, factor, hosts, least)
        case("outlier_success_rate", name, given, {"ejected": found})

    for name, tiers in [
        ("exactly what the reserve carries", [(5, 7), (7, 7)]),
        ("one less", [(4, 7), (7, 7)]),
        ("a remainder goes to the first", [(1, 9), (1, 9), (1, 9)]),
        ("the first tiers are empty", [(0, 0), (0, 4), (1, 9), (1, 9)]),
        ("nothing anywhere", [(0, 3), (0, 0), (0, 9)]),
        ("too little for a share", [(1, 141), (1, 139), (1, 200)]),
        ("one tier, hardly alive", [(1, 140)]),
        ("a million", [(1, 1000000), (714285, 1000000), (714286, 1000000)]),
    ]:
        given = {"tiers": [{"healthy": healthy, "total": total} for healthy, total in tiers]}
        case("priority_spill", name, given, {"percent": spill(tiers)})

    for name, ratio, ttl, per_second, events in [
        ("a part of a retry is none", 0.25, 10, 0, [[0, "request", 7], [0, "retry", 5]]),
        ("the reserve alone", 0.0, 10, 0.3, [[0, "retry", 9], [9.999, "retry", 9], [10, "retry", 9]]),
        ("a reserve below one", 0, 0.5, 1, [[0, "retry", 3], [0.5, "retry", 3]]),
        (
            "each event has its own end",
            1,
            10,
            0,
            [[0, "request", 1], [0.004, "request", 1], [10, "retry", 3], [10.004, "retry", 3]],
        ),
        (
            "a window of an hour and more",
            0.5,
            5000,
            0,
            [[0, "request", 4], [4, "request", 4], [5001, "retry", 9], [5004, "retry", 9]],
        ),
        (
            "retries come back as they expire",
            0.1,
            10,
            0.2,
            [[0, "request", 100], [0, "retry", 5], [5, "retry", 50], [9.5, "request", 100], [10, "retry", 50], [15, "retry", 50]],
        ),
        ("more retries than requests", 1.5, 10, 0, [[0, "request", 3], [1, "retry", 10]]),
        ("none is none", 0.5, 10, 0, [[0, "request", 0], [0, "retry", 0], [0, "retry", 1]]),
    ]:
        given = {"ratio": ratio, "ttl_s": ttl, "min_per_s": per_second, "events": events}
        case("retry_budget", name, given, {"allowed": budget(ratio, ttl, per_second, events)})


all_cases()
print("[\n" + ",\n".join(json.dumps(each) for each in CASES) + "\n]")
