"""Keeps sidecars supplied with certificates: each is replaced at half of its life, and nothing is restarted for it.

A new certificate is for new connections. Those that are open keep what they were proven with, and end by their own bound
(`Sidecar.longest`), each when it has no request; so that no request is lost by a rotation.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from skerry import signals
from skerry.clock import SYSTEM, Clock
from skerry.envoy.ads import AdsServer
from skerry.envoy.mesh.authority import Authority
from skerry.envoy.mesh.certificates import CertificateFolder
from skerry.envoy.mesh.identity import Identity
from skerry.envoy.mesh.sidecar import Sidecar, secrets
from skerry.errors import ConfigurationError, EnvoyError
from skerry.signals import AuthoritiesChanged, IdentityRenewed, Signal

_log = logging.getLogger("skerry.envoy")

LOOK = 1.0
"""Seconds between two looks at files."""
LONGEST_PAUSE = 30.0
"""Seconds between two looks at the clock, which may have jumped."""
LATE = 0.2
"""Of a certificate's life; when less is left and its file was not replaced, that is told."""
PATIENCE = 10.0
"""Seconds for a sidecar to take what it was given."""
_BEGIN = "-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarInfo:
    """What is known of a sidecar. `ends` is when its certificate expires, in seconds since 1970, `serial` its number.

    `callers` may call it. `acknowledged`: it is connected and has taken all that it was given, in `version` at last.
    """

    service: str
    identity: str
    ends: float
    serial: str
    callers: tuple[str, ...]
    version: int
    acknowledged: bool


class Rotation:
    """Gives each of `sidecars`, by the name of its service as the id of its node, its configuration and its secrets.

    From an `Authority` certificates are made, and made anew at half of their life; an authority with little life left is
    replaced. Of a `CertificateFolder` the files are looked at every second, and what has changed and is in order is given on.

        rotation = Rotation(sidecars, Authority(folder, system="shop"), ads)
        rotation.begin()                 # before the sidecars start
        await rotation.run()             # until it is cancelled
    """

    def __init__(
        self,
        sidecars: Sequence[Sidecar],
        source: Authority | CertificateFolder,
        ads: AdsServer,
        *,
        clock: Clock = SYSTEM,
        emit: Callable[[Signal], None] = signals.emit,
    ) -> None:
        self._sidecars = {sidecar.service: sidecar for sidecar in sidecars}
        self._source = source
        self._ads = ads
        self._clock = clock
        self._emit = emit
        self._identities: dict[str, Identity] = {}
        self._believed = ""
        self._seen: tuple[object, ...] = ()
        self._lock = asyncio.Lock()
        self._late: set[str] = set()
        """Numbers of certificates of which it was told that they end soon."""

    def begin(self) -> None:
        """Offer everybody everything, for the first time. Raises `ConfigurationError` when a certificate is not in order.

        An authority that was about to be replaced when an earlier process ended is forgotten: nobody has a certificate of it.
        """
        if isinstance(self._source, Authority):
            self._source.forget()
        self._seen = self._look()
        self._believed = self._source.authorities()
        for service in self._sidecars:
            self._identities[service] = self._source.identity(service)
            self._offer(service)

    async def run(self) -> None:
        """Replace what is due, until cancelled. What fails is told by a signal and tried again; sidecars keep what they have."""
        while True:
            await self._clock.sleep(self._pause())
            try:
                await self._turn()
            except (EnvoyError, ConfigurationError) as error:
                _log.error("the certificates of the mesh: %s", error)
            except Exception:  # whatever it is: without a next turn, all certificates would end within the hour
                _log.exception("the certificates of the mesh")

    async def _turn(self) -> None:
        if isinstance(self._source, CertificateFolder):
            if (seen := self._look()) != self._seen:
                self._seen = seen
                await self._read_again()
            self._tell_late()
        elif self._source.is_worn:
            await self.replace_authority()
        elif due := [name for name, one in self._identities.items() if one.half <= self._clock.now()]:
            await self.renew(due)

    async def renew(self, services: Iterable[str] = ()) -> None:
        """New certificates for `services`, or for all; returns when every sidecar that is up has taken its own.

        Raises `ConfigurationError` when there is no such service or no certificate in order for it, and `EnvoyError` when a
        sidecar does not take its own in 10 s.
        """
        async with self._lock:
            await self._renew(tuple(services) or tuple(self._sidecars))

    async def replace_authority(self) -> None:
        """A new authority, and new certificates of it for everybody; returns when nobody believes the old one any more.

        First all believe both, then each gets its new certificate, then the old authority is forgotten: at no time is there a
        pair of sidecars of which one does not believe the other. Raises `EnvoyError` when a sidecar does not take part in 10 s;
        both authorities are believed then. Raises `ConfigurationError` when certificates come from files.
        """
        if not isinstance(self._source, Authority):
            raise ConfigurationError(
                "the certificates come from files: put another ca.crt there, with both authorities first"
            )
        async with self._lock:
            if self._source.authorities().count(_BEGIN) == 1:  # else one that did not come to its end is gone on with
                self._source.replace()
            await self._believe()
            await self._renew(tuple(self._sidecars))
            self._source.forget()
            await self._believe()

    async def change(self, sidecar: Sidecar) -> None:
        """Give the sidecar of that service this configuration from now on; returns when it has taken it, and while it is down at
        once.

        Raises `EnvoyError` when it does not in 10 s; it is offered what it had before then, also when this is cancelled.
        """
        async with self._lock:
            before = self._sidecars[sidecar.service]
            self._sidecars[sidecar.service] = sidecar
            self._offer(sidecar.service)
            try:
                await self._ads.settle(node=sidecar.service, within=PATIENCE)
            except BaseException:
                self._sidecars[sidecar.service] = before
                self._offer(sidecar.service)
                raise

    def status(self) -> list[SidecarInfo]:
        """Every sidecar as it is now, in the order in which they were given."""
        return [
            SidecarInfo(
                service=service,
                identity=self._identities[service].name,
                ends=self._identities[service].ends,
                serial=self._identities[service].serial,
                callers=sidecar.callers,
                version=self._ads.version(node=service),
                acknowledged=self._ads.taken(node=service),
            )
            for service, sidecar in self._sidecars.items()
        ]

    async def _renew(self, services: Sequence[str]) -> None:
        if unknown := [name for name in services if name not in self._sidecars]:
            raise ConfigurationError(
                f"no sidecar has the name {unknown[0][:60]!r}: there are {', '.join(self._sidecars)}"
            )
        for service in services:
            self._identities[service] = self._source.identity(service)
            self._offer(service)
        answers = await self._answers(services)
        for service, error in answers.items():
            identity, told = self._identities[service], str(error or "")
            self._emit(IdentityRenewed(service=service, name=identity.name, ends=identity.ends, error=told))
        _demand_taken(answers)

    async def _believe(self) -> None:
        self._believed = self._source.authorities()
        for service in self._sidecars:
            self._offer(service)
        _demand_taken(await self._answers(tuple(self._sidecars)))
        name = next(iter(self._sidecars.values())).system
        self._emit(AuthoritiesChanged(system=name, count=self._believed.count(_BEGIN)))

    def _offer(self, service: str) -> None:
        given = secrets(self._identities[service], self._believed)
        self._ads.offer(replace(self._sidecars[service].resources(), secrets=given), node=service)

    async def _answers(self, services: Sequence[str]) -> dict[str, EnvoyError | None]:
        """What the sidecars say to what they were offered: nothing, or why they do not take it."""
        async with asyncio.TaskGroup() as group:
            waiting = {service: group.create_task(self._answer(service)) for service in services}
        return {service: task.result() for service, task in waiting.items()}

    async def _answer(self, service: str) -> EnvoyError | None:
        try:
            await self._ads.settle(node=service, within=PATIENCE)
        except EnvoyError as error:
            return error
        return None

    async def _read_again(self) -> None:
        """Of the files, what is in order now. Authorities come first, so that who has a new certificate is believed."""
        async with self._lock:
            if self._source.authorities() != self._believed:
                with contextlib.suppress(EnvoyError):  # it stays offered, and comes before what is offered next
                    await self._believe()
            self._late &= {one.serial for one in self._identities.values()}
            for service, before in list(self._identities.items()):
                try:
                    found = self._source.identity(service)
                except ConfigurationError as error:
                    self._emit(IdentityRenewed(service=service, name=before.name, ends=before.ends, error=str(error)))
                    continue
                if found.serial != before.serial:
                    with contextlib.suppress(EnvoyError):  # it was told, and the next one may be better
                        await self._renew([service])

    def _tell_late(self) -> None:
        now = self._clock.now()
        for service, one in self._identities.items():
            if one.ends - now < (one.ends - one.begins) * LATE and one.serial not in self._late:
                self._late.add(one.serial)
                text = f"it ends in {max(0.0, one.ends - now):.0f} s, and its file has not been replaced"
                self._emit(IdentityRenewed(service=service, name=one.name, ends=one.ends, error=text))

    def _pause(self) -> float:
        if isinstance(self._source, CertificateFolder):
            return LOOK
        first = min((one.half for one in self._identities.values()), default=0.0)
        return min(LONGEST_PAUSE, max(LOOK, first - self._clock.now()))

    def _look(self) -> tuple[object, ...]:
        return self._source.seen() if isinstance(self._source, CertificateFolder) else ()


def _demand_taken(answers: Mapping[str, EnvoyError | None]) -> None:
    for service, error in answers.items():
        if error is not None:
            raise EnvoyError(f"the sidecar of {service} does not take its secrets: {error}")
