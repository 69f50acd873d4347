"""
An admission webhook that admits everything, some of it late: how a lab slows down what the API server is asked to do.

Clusters have such webhooks, and one that answers slowly holds up whatever its rules match. Which requests it is asked
about is the business of the ValidatingWebhookConfiguration that the fault creates.
"""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from bench.lab.control.files import Pki
from bench.lab.faults.state import Faults, Planted
from bench.lab.network import BRIDGE_ADDRESS, SLOW_ADMISSION_PORT
from bench.lab.paths import LabPaths

PROBE_NAME: Final = "slow-admission-probe"
"""A ConfigMap of this name is refused: whoever may not create it sees that the webhook is in effect."""


class SlowAdmission:
    """Always listening; the API server asks only while a fault wants it to."""

    def __init__(self, paths: LabPaths) -> None:
        self._faults = Faults(paths.faults)
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        pki = Pki(paths.pki)
        self._tls.load_cert_chain(pki.kubelet, Pki.key_of(pki.kubelet))
        application = web.Application()
        application.router.add_post("/", self._review)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)

    async def open(self) -> None:
        """Listen."""
        await self._runner.setup()
        await web.TCPSite(self._runner, BRIDGE_ADDRESS, SLOW_ADMISSION_PORT, ssl_context=self._tls).start()

    async def close(self) -> None:
        """Answer nobody any more."""
        await self._runner.cleanup()

    async def _review(self, http: web.Request) -> web.Response:
        review = await http.json()
        request = review["request"]
        fault = self._faults.find("slow-stage")
        if fault is not None:
            await asyncio.sleep(seconds_to_wait(request, fault))
        response = {"uid": request["uid"], "allowed": request["name"] != PROBE_NAME}
        return web.json_response({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response})


def seconds_to_wait(request: Mapping[str, Any], fault: Planted) -> float:
    """How long this request is held up."""
    kind, stage = request["resource"]["resource"], fault.text("stage")
    if kind == "configmaps":
        return 0.0
    if kind == "endpointslices":
        before, after = ready_addresses(request.get("oldObject")), ready_addresses(request.get("object"))
        moved = after - before if stage == "serving" else before - after
        return fault.number("seconds") if moved else 0.0
    return fault.number("seconds")


def ready_addresses(endpoint_slice: Mapping[str, Any] | None) -> set[str]:
    """Addresses that traffic is sent to; none of no object."""
    endpoints = (endpoint_slice or {}).get("endpoints") or ()
    ready = [each for each in endpoints if (each.get("conditions") or {}).get("ready", True)]
    return {address for each in ready for address in each["addresses"]}
