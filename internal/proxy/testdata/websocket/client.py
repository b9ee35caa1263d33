"""A client of the WebSocket suite, on Python's websockets: one case after the other
against the URL that it is given. It prints a line for each case and ends with 1 if
one failed."""
import asyncio
import os
import sys

import websockets

url = sys.argv[1]


async def text(ws):
    await ws.send("żółw")
    assert await ws.recv() == "żółw"


async def large(ws):
    b = os.urandom(16 << 20)
    await ws.send(b)
    assert await ws.recv() == b


async def fragments(ws):
    async def parts():
        for i in range(50):
            yield b"x" * (i * 37)

    await ws.send(parts())
    assert await ws.recv() == b"".join([b"x" * (i * 37) for i in range(50)])


async def ping(ws):
    pong = await ws.ping(b"between")
    await asyncio.wait_for(pong, 20)


async def many(ws):
    for i in range(500):
        await ws.send(str(i))
    for i in range(500):
        assert await ws.recv() == str(i)


async def closed_by_client(ws):
    await ws.close(3001, "done")
    assert ws.close_code == 3001, ws.close_code


async def closed_by_server(ws):
    await ws.send("do:close")
    try:
        await ws.recv()
        raise AssertionError("a message")
    except websockets.ConnectionClosed as e:
        assert (e.rcvd.code, e.rcvd.reason) == (4002, "enough"), e


async def cut_by_server(ws):
    await ws.send("do:cut")
    try:
        await ws.recv()
        raise AssertionError("a message")
    except websockets.ConnectionClosed as e:
        assert e.rcvd is None, e


async def main():
    failed = 0
    for mode in (None, "deflate"):
        for case in (text, large, fragments, ping, many, closed_by_client, closed_by_server, cut_by_server):
            name = f"{mode or 'plain'} {case.__name__}"
            try:
                async with websockets.connect(url, max_size=64 << 20, compression=mode, subprotocols=["echo"]) as ws:
                    assert ws.subprotocol == "echo", ws.subprotocol
                    await asyncio.wait_for(case(ws), 30)
                print("ok", name)
            except Exception as e:  # every failure is one line of the report
                failed += 1
                print("failed", name, type(e).__name__, e)
    sys.exit(1 if failed else 0)


asyncio.run(main())
