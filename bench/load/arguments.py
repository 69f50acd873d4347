"""What can be said about a load: options, and the order that they make; for the command line and for workers."""

import argparse
import json
import math
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from bench.errors import WrongUsage
from bench.load.arrivals import Arrivals, Process, Shape, trace_shape
from bench.load.endpoints import Endpoint, Protocol, TlsOptions, inside_cluster, proxy_from, require_consent
from bench.load.engines import EngineKind
from bench.load.files import read_text, require_writable
from bench.load.orders import Identity, Limits, LoadOrder, LoopKind, Objectives
from bench.load.requests import LONGEST_TOKENS, Lengths, RequestSource

_LONGEST_SECONDS = 3600.0


def number(text: str) -> float:
    """A number of a command line that is one: neither `nan` nor `inf`."""
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} is no finite number")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be said about a load."""
    parser.add_argument("url", metavar="URL", help="http(s)://HOST[:PORT][/PATH]; without a path the protocol's own")
    _add_load(parser.add_argument_group("load"))
    _add_requests(parser.add_argument_group("requests"))
    _add_connection(parser.add_argument_group("connection"))
    _add_output(parser.add_argument_group("judging and output"))


def _add_load(group: Any) -> None:
    level = group.add_mutually_exclusive_group()
    level.add_argument("--rate", type=number, metavar="R", help="open loop: requests a second (default 1)")
    level.add_argument("--users", type=int, metavar="N", help="closed loop: users, each waiting for its answer")
    group.add_argument(
        "--closed", action="store_true", help="with --steps: the levels are users, not requests a second"
    )
    group.add_argument("--arrivals", default="poisson", metavar="A", help="constant, poisson, gamma:CV, trace:FILE")
    group.add_argument(
        "--steps", metavar="S", help="LEVEL:SECONDS, FROM-TO:SECONDS (ramp), MEAN~AMPLITUDE/PERIOD:SECONDS (sine), …"
    )
    group.add_argument(
        "--duration", type=number, metavar="S", help="seconds (default 30, or the steps' or the trace's own)"
    )
    group.add_argument(
        "--max-duration", type=number, default=_LONGEST_SECONDS, metavar="S", help="refuse more than this"
    )
    group.add_argument("--max-requests", type=int, default=1_000_000, metavar="N", help="end after so many")
    group.add_argument("--think", default="0", metavar="S[,S]", help="closed loop: pause of a user, drawn between two")
    group.add_argument("--warmup", type=number, default=0.0, metavar="S", help="first seconds, kept and labelled")
    group.add_argument("--processes", type=int, default=1, metavar="N", help="workers, one core each")
    group.add_argument("--seed", type=int, default=1, metavar="N", help="of arrivals, prompts and their split")


def _add_requests(group: Any) -> None:
    group.add_argument("--protocol", choices=[p.value for p in Protocol], default=Protocol.OPENAI_CHAT.value)
    group.add_argument("--model", default="default", metavar="M")
    group.add_argument("--prompt-tokens", default="32", metavar="D", help="N, uniform:A,B, normal:M,S, lognormal:M,S")
    group.add_argument("--output-tokens", default="64", metavar="D", help="as above; the limit that is asked for")
    group.add_argument(
        "--shared-prefix-tokens", type=int, default=0, metavar="N", help="the same words first in every prompt"
    )
    group.add_argument("--distinct", type=int, default=256, metavar="N", help="different requests made (default 256)")
    group.add_argument("--turns", type=int, default=1, metavar="N", help="requests of a conversation")
    group.add_argument("--turn-think", type=number, default=0.0, metavar="S", help="pause between turns")
    group.add_argument("--no-stream", action="store_true", help="ask for the answer in one piece")
    group.add_argument("--requests", type=Path, metavar="FILE", help="requests to send, a JSON object a line")
    group.add_argument("--template", type=Path, metavar="FILE", help="body with {{prompt}} {{model}} {{output_tokens}}")
    group.add_argument("--extra-body", default="{}", metavar="JSON", help="members added to every body")
    group.add_argument("--header", action="append", default=[], metavar="'N: V'", help="may be given again")
    group.add_argument("--bearer-file", type=Path, metavar="FILE", help="token for the Authorization header")
    group.add_argument("--id-header", default="x-request-id", metavar="N", help="header with the request's own id")
    group.add_argument("--id-prefix", metavar="P", help="ids are P-0, P-1, … (default: drawn for each run)")


def _add_connection(group: Any) -> None:
    group.add_argument("--http", choices=["1.1", "2"], default="1.1", help="2 without TLS is by prior knowledge")
    group.add_argument("--cacert", type=Path, metavar="FILE", help="believe this CA, not the system's")
    group.add_argument("--cert", type=Path, metavar="FILE", help="certificate of the client")
    group.add_argument("--key", type=Path, metavar="FILE", help="its key")
    group.add_argument("--insecure", action="store_true", help="do not verify the server")
    group.add_argument(
        "--proxy", metavar="URL", help="HTTP proxy (default: from http_proxy, https_proxy, no_proxy; '' for none)"
    )
    group.add_argument("--connections", type=int, default=10_000, metavar="N", help="at most so many requests at once")
    group.add_argument("--timeout", type=number, default=120.0, metavar="S", help="of a whole request")
    group.add_argument("--connect-timeout", type=number, default=10.0, metavar="S")
    group.add_argument("--drain", type=number, default=30.0, metavar="S", help="how long open requests may still take")
    group.add_argument("--yes-really", metavar="URL", help="consent to load a machine that is not this one")


def _add_output(group: Any) -> None:
    group.add_argument("--slo", default="", metavar="S", help="ttft=0.5,itl=0.05,tpot=,e2e=,share=0.99")
    group.add_argument("--find-knee", action="store_true", help="search the rate at which the SLO breaks")
    group.add_argument("--knee-max-rate", type=number, default=10_000.0, metavar="R")
    group.add_argument("--knee-repeats", type=int, default=3, metavar="N")
    group.add_argument("--backend-header", metavar="N", help="answer header that names the backend")
    group.add_argument("--backend-member", metavar="N", help="member of the first event that names the backend")
    group.add_argument("--engine", choices=[kind.value for kind in EngineKind], help="default: native where built")
    group.add_argument("--json", nargs="?", const="-", metavar="FILE", help="the result as JSON (default stdout)")
    group.add_argument("--records", type=Path, metavar="FILE", help="one line of JSON a request")
    group.add_argument("--html", type=Path, metavar="FILE", help="a page with plots")
    group.add_argument("--quiet", action="store_true", help="no live view")
    group.add_argument("--leash", action="store_true", help="end as at Ctrl-C when standard input ends")
    group.add_argument("--now", type=Path, metavar="FILE", help="the live view's figures as JSON, while it lasts")


#: Options whose value is the name of a file that is read.
FILES = ("--requests", "--template", "--bearer-file", "--cacert", "--cert", "--key")


class _Refusing(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise WrongUsage(message)


def parse_order(words: Sequence[str]) -> LoadOrder:
    """The order that these words of a command line make; raises `WrongUsage` where they make none."""
    parser = _Refusing(allow_abbrev=False, add_help=False)
    add_arguments(parser)
    parsed = parser.parse_args(list(words))
    order = order_of(parsed)
    require_consent(order.endpoint, consent=parsed.yes_really, inside=inside_cluster())
    return order


def order_of(arguments: argparse.Namespace) -> LoadOrder:
    """The arguments as an order; refuses what cannot be."""
    _require_places(arguments)
    protocol = Protocol(arguments.protocol)
    loop = LoopKind.CLOSED if arguments.users is not None or arguments.closed else LoopKind.OPEN
    slo = Objectives.parse(arguments.slo) if arguments.slo else Objectives()
    arrivals = Arrivals.parse(arguments.arrivals)
    return LoadOrder(
        endpoint=_endpoint(arguments, protocol),
        protocol=protocol,
        loop=loop,
        shape=_shape(arguments, arrivals, loop),
        arrivals=arrivals,
        source=_source(arguments),
        think_seconds=_think(arguments.think),
        tls=_tls(arguments),
        http2=arguments.http == "2",
        limits=_limits(arguments),
        identity=Identity(
            header=arguments.id_header,
            prefix=arguments.id_prefix or f"bench-{secrets.token_hex(4)}",
            backend_header=arguments.backend_header,
            backend_member=arguments.backend_member,
        ),
        objectives=slo,
        warmup_seconds=arguments.warmup,
        seed=arguments.seed,
    )


def _require_places(arguments: argparse.Namespace) -> None:
    if arguments.seed < 0:
        raise WrongUsage(f"--seed {arguments.seed}: must be at least 0")
    told = None if arguments.json in (None, "-") else Path(arguments.json)
    _require_header(arguments.id_header, arguments.id_prefix or "", named_by="--id-header, --id-prefix")
    files = {"--json": told, "--records": arguments.records, "--html": arguments.html, "--now": arguments.now}
    for option, file in files.items():
        if file is not None:
            require_writable(file, named_by=option)


def _endpoint(arguments: argparse.Namespace, protocol: Protocol) -> Endpoint:
    proxy = proxy_from(os.environ, arguments.url) if arguments.proxy is None else arguments.proxy
    endpoint = Endpoint.parse(arguments.url, protocol, proxy)
    if endpoint.proxy and not endpoint.tls and arguments.http == "2":
        raise WrongUsage(
            f"--http 2 in the clear does not go through a proxy ({endpoint.proxy}); take it away: --proxy ''"
        )
    return endpoint


def _shape(arguments: argparse.Namespace, arrivals: Arrivals, loop: LoopKind) -> Shape:
    level = arguments.users if arguments.users is not None else arguments.rate
    if level is not None and level <= 0:
        raise WrongUsage(f"{'--rate' if arguments.users is None else '--users'} {level:g}: must be above 0")
    if arguments.duration is not None and arguments.duration <= 0:
        raise WrongUsage(f"--duration {arguments.duration:g}: must be above 0")
    if arrivals.process is Process.TRACE:
        shape = _trace_shape(arguments, arrivals, loop)
    elif arguments.steps is not None:
        shape = _steps_shape(arguments)
    else:
        shape = Shape.constant(level or 1.0, arguments.duration or 30.0)
    if not shape.duration_seconds <= arguments.max_duration:
        raise WrongUsage(
            f"{shape.duration_seconds:g} s are more than --max-duration {arguments.max_duration:g} s; "
            "shorten the run or raise that"
        )
    if not 0 <= arguments.warmup < shape.duration_seconds:
        raise WrongUsage(
            f"--warmup {arguments.warmup:g}: must be at least 0, and less than the run's {shape.duration_seconds:g} s"
        )
    return shape


def _steps_shape(arguments: argparse.Namespace) -> Shape:
    if arguments.rate is not None or arguments.users is not None or arguments.find_knee:
        raise WrongUsage(
            "--steps holds the levels; leave out --rate, --users (with --closed they are users) and --find-knee"
        )
    shape = Shape.parse(arguments.steps)
    return shape.cut(arguments.duration) if arguments.duration else shape


def _trace_shape(arguments: argparse.Namespace, arrivals: Arrivals, loop: LoopKind) -> Shape:
    """As long as the trace unless a duration is given; the level is the mean rate, for whoever watches."""
    if arguments.rate is not None or arguments.steps is not None or arguments.find_knee or loop is LoopKind.CLOSED:
        raise WrongUsage("a trace holds the times; leave out --rate, --steps, --users, --closed and --find-knee")
    return trace_shape(arrivals, arguments.duration)


def _source(arguments: argparse.Namespace) -> RequestSource:
    try:
        extra = json.loads(arguments.extra_body, parse_constant=_no_json)
    except ValueError as error:
        raise WrongUsage(f"--extra-body: {error}") from error
    if not isinstance(extra, dict):
        raise WrongUsage("--extra-body: no JSON object")
    prefix = arguments.shared_prefix_tokens
    if min(arguments.distinct, arguments.turns) < 1 or not 0 <= prefix <= LONGEST_TOKENS or arguments.turn_think < 0:
        raise WrongUsage(
            "--distinct and --turns must be at least 1, --turn-think at least 0, "
            f"--shared-prefix-tokens between 0 and {LONGEST_TOKENS}"
        )
    return RequestSource(
        model=arguments.model,
        prompt_tokens=Lengths.parse(arguments.prompt_tokens),
        output_tokens=Lengths.parse(arguments.output_tokens),
        shared_prefix_tokens=arguments.shared_prefix_tokens,
        distinct=min(arguments.distinct, arguments.max_requests),
        turns=arguments.turns,
        think_seconds=arguments.turn_think,
        stream=not arguments.no_stream,
        file=arguments.requests,
        template_file=arguments.template,
        extra_body=extra,
        headers=_headers(arguments),
    )


def _no_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


#: What the engine says itself of every request.
_FRAMING = ("content-length", "transfer-encoding", "connection")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _require_header(name: str, value: str, *, named_by: str) -> None:
    if not _HEADER_NAME.fullmatch(name) or name.lower() in _FRAMING or not value.isprintable():
        raise WrongUsage(
            f"{named_by}: {name!r} with {value!r} cannot be sent; a name has letters, digits and dashes, a value "
            f"no line ends, and {', '.join(_FRAMING)} are the engine's"
        )


def _headers(arguments: argparse.Namespace) -> tuple[tuple[str, str], ...]:
    headers = []
    for text in arguments.header:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise WrongUsage(f"--header {text!r}: say 'Name: value'")
        _require_header(name.strip(), value.strip(), named_by="--header")
        headers.append((name.strip(), value.strip()))
    if arguments.bearer_file:
        token = read_text(arguments.bearer_file, named_by="--bearer-file").strip()
        if not token.isprintable() or not token:
            raise WrongUsage(f"--bearer-file {arguments.bearer_file}: holds no token on one line")
        headers.append(("authorization", f"Bearer {token}"))
    return tuple(headers)


def _think(text: str) -> tuple[float, float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 2 or not 0 <= numbers[0] <= numbers[-1] < math.inf:
        raise WrongUsage(f"--think {text!r}: say SECONDS or LOW,HIGH")
    return numbers[0], numbers[-1]


def _tls(arguments: argparse.Namespace) -> TlsOptions:
    if arguments.key is not None and not arguments.key.is_file():
        raise WrongUsage(f"--key {arguments.key}: no such file")
    for option, file in (("--cacert", arguments.cacert), ("--cert", arguments.cert)):
        if file is not None and "-----BEGIN CERTIFICATE-----" not in read_text(file, named_by=option):
            raise WrongUsage(f"{option} {file}: holds no certificate in PEM")
    if (arguments.cert is None) != (arguments.key is None):
        raise WrongUsage("--cert and --key go together")
    return TlsOptions(
        ca_file=arguments.cacert, certificate_file=arguments.cert, key_file=arguments.key, insecure=arguments.insecure
    )


def _limits(arguments: argparse.Namespace) -> Limits:
    counts = (arguments.max_requests, arguments.connections, arguments.processes)
    if min(counts) < 1 or min(arguments.timeout, arguments.connect_timeout) <= 0 or arguments.drain < 0:
        raise WrongUsage(
            "--max-requests, --connections, --processes, --timeout and --connect-timeout must be above 0, "
            "--drain at least 0"
        )
    return Limits(
        requests_max=arguments.max_requests,
        timeout_seconds=arguments.timeout,
        connect_timeout_seconds=arguments.connect_timeout,
        drain_seconds=arguments.drain,
        connections_max=arguments.connections,
    )
