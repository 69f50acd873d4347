"""How an answer of the API server is read, and what is asked put into words of a URL."""

import json
from collections.abc import Iterator
from typing import Any

from urllib3.response import BaseHTTPResponse


def query(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def read(response: BaseHTTPResponse) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(response.data)
    return body


def lines(response: BaseHTTPResponse) -> Iterator[bytes]:
    """Lines as they come; closes the connection at the end, also when the reader stops early."""
    pending = b""
    try:
        for chunk in response.stream(65536, decode_content=False):
            *whole, pending = (pending + chunk).split(b"\n")
            yield from whole
        if pending:
            yield pending
    finally:
        response.close()
        response.release_conn()
