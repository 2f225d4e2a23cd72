"""Envoy as a part of a system: its program, its life as a supervised process, and the configuration it is given.

    process = EnvoyProcess(node="gateway")
    async with AdsServer(process.folder / "ads.sock") as ads:
        ads.offer(resources)                    # before it starts
        async with process:
            await ads.publish(changed)          # returns when Envoy has taken it, raises when it has not

What it is configured to do is said by others: `skerry.gateway.envoy` compiles a gateway, `skerry.envoy.mesh` a sidecar.
"""

from __future__ import annotations

from skerry.envoy.admin import Admin
from skerry.envoy.ads import AdsServer
from skerry.envoy.binary import find
from skerry.envoy.files import FileDelivery
from skerry.envoy.process import EnvoyProcess, envoy_command
from skerry.envoy.resources import KINDS, Kind, Resources

__all__ = [
    "KINDS",
    "Admin",
    "AdsServer",
    "EnvoyProcess",
    "FileDelivery",
    "Kind",
    "Resources",
    "envoy_command",
    "find",
]
