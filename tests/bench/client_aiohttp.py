"""A bare Python client at its best: aiohttp over uvloop, whatever a read brings. usage: URL STREAMS SECONDS"""

import asyncio
import sys
import time

import aiohttp
import uvloop

_BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": True}


async def ask(session: aiohttp.ClientSession, url: str, ends: float) -> None:
    while time.perf_counter() < ends:
        stamps: list[float] = []
        rest = b""
        async with session.post(url, json=_BODY) as response:
            async for read in response.content.iter_any():
                stamp = time.perf_counter()
                *events, rest = (rest + read).split(b"\n\n")
                stamps += [stamp for event in events if event.startswith(b"data: {")]


async def main() -> None:
    url, streams, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    ends = time.perf_counter() + seconds
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(ask(session, url, ends) for _ in range(streams)))


uvloop.run(main())
