"""WebSocket by the `websockets` library on both ends of a gateway.

    websocket.py ORIGIN_PORT GATEWAY_PORT

Starts an origin on the first port and speaks to it through the second. One line for each case: its name, a tab,
`ok` or what was seen.
"""

import asyncio
import os
import socket
import struct
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

ORIGIN, GATEWAY = int(sys.argv[1]), int(sys.argv[2])
LARGE = 16 << 20


async def origin(stream):
    try:
        async for message in stream:
            await answer(stream, message)
    except ConnectionClosed:
        pass
    last.append((stream.close_code, stream.close_reason))


async def answer(stream, message):
    if isinstance(message, str) and message.startswith("close "):
        await stream.close(int(message[6:]), "as asked")
    elif message == "reset":
        raw = stream.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.transport.abort()
    elif message == "many":
        for number in range(500):
            await stream.send(f"{number} " + "x" * 8192)
    elif message == "told":
        await stream.send(repr(last))
    else:
        await stream.send(message)


last = []


def choose(_, offered):
    return "second" if "second" in offered else None


def through(**options):
    return connect(f"ws://127.0.0.1:{GATEWAY}/ws", max_size=2 * LARGE, **options)


async def messages():
    async with through() as stream:
        for message in ["grüß dich", b"\0\xff\r\n", "", "x" * 100_000]:
            await stream.send(message)
            assert await stream.recv() == message
        await asyncio.wait_for(await stream.ping(b"are you there"), 10)


async def fragments():
    async with through(compression=None) as stream:
        await stream.send(iter(["one ", "two ", "three"]))
        assert await stream.recv() == "one two three"


async def deflate():
    async with through(compression="deflate") as stream:
        names = [extension.name for extension in stream.protocol.extensions]
        assert names == ["permessage-deflate"], names
        for message in ["a" * LARGE, os.urandom(1 << 20)]:
            await stream.send(message)
            assert await stream.recv() == message


async def no_deflate():
    async with through(compression=None) as stream:
        assert stream.protocol.extensions == []
        message = os.urandom(LARGE)
        await stream.send(message)
        assert await stream.recv() == message


async def subprotocols():
    async with through(subprotocols=["first", "second"]) as stream:
        assert stream.subprotocol == "second", stream.subprotocol
    async with through() as stream:
        assert stream.subprotocol is None


async def close_codes():
    for code in [1000, 1001, 1011, 1012, 3000, 4001]:
        async with through() as stream:
            await stream.send(f"close {code}")
            try:
                await stream.recv()
                raise AssertionError("still open")
            except ConnectionClosed:
                assert (stream.close_code, stream.close_reason) == (code, "as asked"), stream.close_code
    stream = await through()
    await stream.close(4002, "from here")
    async with through() as stream:
        for _ in range(100):
            await stream.send("told")
            if "(4002, 'from here')" in await stream.recv():
                return
    raise AssertionError(last)


async def slow_reader():
    async with through(max_queue=1) as stream:
        await stream.send("many")
        for number in range(500):
            if number % 100 == 0:
                await asyncio.sleep(0.05)
            assert (await stream.recv()).split(" ")[0] == str(number)


async def reset():
    async with through() as stream:
        await stream.send("reset")
        try:
            await asyncio.wait_for(stream.recv(), 10)
            raise AssertionError("still open")
        except ConnectionClosed:
            # 1006: nobody said goodbye.
            assert stream.close_code == 1006, stream.close_code


async def many():
    streams = await asyncio.gather(*(through() for _ in range(100)))
    for number, stream in enumerate(streams):
        await stream.send(str(number))
    for number, stream in enumerate(streams):
        assert await stream.recv() == str(number)
    await asyncio.gather(*(stream.close() for stream in streams))


CASES = [messages, fragments, deflate, no_deflate, subprotocols, close_codes, slow_reader, reset, many]


async def main():
    async with serve(origin, "127.0.0.1", ORIGIN, select_subprotocol=choose, max_size=2 * LARGE):
        for case in CASES:
            try:
                await asyncio.wait_for(case(), 60)
                saw = "ok"
            except Exception as error:
                saw = f"{type(error).__name__}: {error}"
            print(f"{case.__name__}\t{saw}", flush=True)


asyncio.run(main())
