"""Questions to programs that are starting: does it serve yet? No answer is a no, never an error."""

import asyncio
import ssl
from pathlib import Path
from typing import Final

import aiohttp

from bench.lab.api import ApiClient, ApiError

_PATIENCE: Final = aiohttp.ClientTimeout(total=2)


async def answers(url: str, *, ca: Path | None = None) -> bool:
    """Whether an HTTP GET is answered with success."""
    tls = ssl.create_default_context(cafile=ca) if ca else True
    try:
        async with aiohttp.ClientSession(timeout=_PATIENCE) as session, session.get(url, ssl=tls) as response:
            return response.status < 300
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


async def api_is_ready(client: ApiClient) -> bool:
    """Whether the API server has finished what it does at its start."""
    try:
        async with asyncio.timeout(2):
            return await client.text("/readyz") == "ok"
    except (ApiError, TimeoutError):
        return False


async def nodes_are_ready(client: ApiClient, count: int) -> bool:
    """Whether so many nodes are there and Ready."""
    try:
        nodes = (await client.get("/api/v1/nodes"))["items"]
    except ApiError:
        return False
    return sum(_is_ready(node["status"].get("conditions", ())) for node in nodes) >= count


async def controllers_run(client: ApiClient) -> bool:
    """Whether the controllers do their work: pods need the service account that one of them makes."""
    try:
        await client.get("/api/v1/namespaces/default/serviceaccounts/default")
    except ApiError:
        return False
    return True


def _is_ready(conditions: list[dict[str, str]]) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
