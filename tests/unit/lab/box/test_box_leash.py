"""What goes over the leash arrives as it was said, and letting go differs from dying."""

import asyncio
import socket

import pytest

from bench.lab.box.leash import Ended, Failed, Held, Holder, Message, PartState, Progress, Ready, decode, encode

MESSAGES = (
    Progress(part="etcd", state=PartState.READY),
    Progress(part="agent", state=PartState.RESTARTING, detail="restart 2\nof many"),
    Ready(),
    Ended(by="SIGTERM"),
    Failed(message="kube-apiserver ended 3 times: “no”"),
)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_one_line_and_comes_back_equal(message: Message) -> None:
    line = encode(message)

    assert line.count(b"\n") == 1
    assert decode(line) == message


def test_what_is_told_is_received_in_order_and_ends() -> None:
    up, first_process = socket.socketpair()

    async def tell() -> None:
        held = Held(first_process.detach())
        await held.open()
        for message in MESSAGES:
            held.tell(message)
        await held.close()

    asyncio.run(tell())
    holder = Holder(up)

    assert [holder.receive() for _ in MESSAGES] == list(MESSAGES)
    assert holder.receive() is None
    holder.drop()


@pytest.mark.parametrize("lets_go", [True, False])
def test_an_up_that_dies_is_told_from_one_that_lets_go(lets_go: bool) -> None:
    up, first_process = socket.socketpair()
    holder = Holder(up)

    async def watch() -> bool:
        held = Held(first_process.detach())
        await held.open()
        if lets_go:
            holder.let_go()
        else:
            holder.drop()
        dropped = await held.was_dropped()
        held.tell(Ready())  # nobody listens any more, and that is no error
        await held.close()
        return dropped

    assert asyncio.run(watch()) is not lets_go
