"""What cannot be asked of `bench load` is refused before anything is sent, in a sentence that names it."""

from pathlib import Path

import pytest

from bench.errors import WrongUsage
from bench.load.arguments import parse_order
from bench.load.orders import LoadOrder, shares

HERE = "http://127.0.0.1:1"


def order(*words: str) -> LoadOrder:
    """The order of these words, its requests and times drawn."""
    made = parse_order([HERE, *words])
    shares(made, workers=1, start_ns=0)
    return made


@pytest.mark.parametrize("url", ["nonsense", "http://[::1", "http://", "http://127.0.0.1:99999", "ftp://127.0.0.1"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(WrongUsage, match="URL"):
        parse_order([url])


NUMBERS = [
    "--rate",
    "--duration",
    "--max-duration",
    "--warmup",
    "--turn-think",
    "--timeout",
    "--connect-timeout",
    "--drain",
    "--knee-max-rate",
]


@pytest.mark.parametrize("option", NUMBERS)
@pytest.mark.parametrize("value", ["nan", "inf", "much"])
def test_a_number_that_is_none(option: str, value: str) -> None:
    with pytest.raises(WrongUsage, match=option):
        order(option, value)


@pytest.mark.parametrize(
    "words",
    [
        ("--rate", "0"),
        ("--users", "0"),
        ("--rate", "1", "--users", "1"),
        ("--duration", "0"),
        ("--duration", "1e5"),
        ("--rate", "1e9", "--duration", "3600", "--max-requests", "1000000000000"),
        ("--steps", ""),
        ("--steps", "5:1", "--rate", "5"),
        ("--warmup", "-1"),
        ("--warmup", "60"),
        ("--seed", "-1"),
        ("--processes", "0"),
        ("--think", "nan"),
        ("--prompt-tokens", "inf"),
        ("--prompt-tokens", "9999999"),
        ("--prompt-tokens", "lognormal:5,1000"),
        ("--shared-prefix-tokens", "1000000000"),
        ("--protocol", "plain", "--turns", "2"),
        ("--extra-body", '{"a": NaN}'),
        ("--header", "a b: x"),
        ("--header", "a: x\r\nb: y"),
        ("--header", "Content-Length: 3"),
        ("--id-prefix", "x\ny"),
        ("--slo", "speed=1"),
        ("--slo", "ttft=nan"),
        ("--slo", "share=0.5"),
        ("--json", "/nowhere/told.json"),
        ("--records", "/"),
        ("--proxy", "http://user:secret@["),
    ],
)
def test_what_cannot_be(words: tuple[str, ...]) -> None:
    with pytest.raises(WrongUsage) as refused:
        order(*words)

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b"{bad\n", b"[1]\n", b"\n", b'{"turns": 3}\n', b'{"turns": []}\n'])
def test_requests_of_a_file_that_are_none(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_bytes(content)

    with pytest.raises(WrongUsage, match=r"requests\.jsonl"):
        order("--requests", str(file))


@pytest.mark.parametrize("option", ["--requests", "--template", "--bearer-file", "--cacert", "--cert"])
def test_a_file_that_is_not_text(option: str, tmp_path: Path) -> None:
    file = tmp_path / "noise"
    file.write_bytes(b"\x80\x81")

    with pytest.raises(WrongUsage, match="noise: no UTF-8 text"):
        order(option, str(file))


def test_a_trace_lasts_as_long_as_its_times(tmp_path: Path) -> None:
    file = tmp_path / "trace"
    file.write_text("0\n1\n45\n")

    made = order("--arrivals", f"trace:{file}")

    assert shares(made, workers=1, start_ns=0)[0].planned == 3
    assert made.shape.duration_seconds == pytest.approx(45, abs=0.01)


def test_a_trace_with_a_rate_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "trace"
    file.write_text("0\n")

    with pytest.raises(WrongUsage, match="trace"):
        order("--arrivals", f"trace:{file}", "--rate", "3")


def test_the_first_of_many_due_requests_are_drawn_and_no_others() -> None:
    some, many = (
        shares(order("--rate", rate, "--max-requests", "10"), workers=1, start_ns=0)[0] for rate in ("1", "1e9")
    )

    assert len(some.offsets) == len(many.offsets) == 10
    assert many.offsets[-1] < 1000
