"""Which instance gets the next call: two are drawn, and the less loaded takes it.

Two choices are nearly as good as looking at all, and unlike "the least loaded of all" they do not send every client to the same
one (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001). Zones are preferred as Envoy's zone aware
routing does it: as much stays in the own zone as its instances can carry when clients are spread evenly over the zones.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate, groupby

from skerry.client.balancing.instance import Instance
from skerry.client.balancing.subset import subset
from skerry.client.discovery.endpoint import Endpoint
from skerry.clock import Clock
from skerry.signals import InstanceEjected, InstanceReturned, emit

MAX_EJECTED = 0.5
"""Share of the instances in use that may be ejected at once. When fewer than the rest of them work, all are used: the trouble is
not theirs alone then, and the few that are left would drown as well."""

Key = tuple[str, int, str]


class Balancer:
    """Chooses among the instances of a service, and learns from how their calls end. Not for two threads at once.

    As long as there is an instance, one is chosen. Of several priorities the first is used of which half the instances work.
    """

    def __init__(self, service: str, *, clock: Clock, zone: str = "", client: int = 0) -> None:
        self.service = service
        self._clock = clock
        self._zone = zone
        self._client = client
        self._instances: dict[Key, Instance] = {}
        self._groups: list[_Group] = []
        self._near = self._far = _Draw(())
        self._share = 1.0
        self._next_return = math.inf

    @property
    def instances(self) -> Collection[Instance]:
        """Those in use here, ejected ones included."""
        return self._instances.values()

    def update(self, endpoints: Iterable[Endpoint]) -> None:
        """From now on these are the instances there are. What was learned of those that stay is kept."""
        before, self._instances, self._groups = self._instances, {}, []
        ordered = sorted(endpoints, key=lambda endpoint: -endpoint.priority)
        once = {_key(endpoint): endpoint for endpoint in ordered}  # told of twice, it counts by its best priority
        for _, same in groupby(sorted(once.values(), key=lambda e: e.priority), key=lambda endpoint: endpoint.priority):
            group = _Group(list(same), self._zone, self._client, before)
            self._groups.append(group)
            self._instances.update((_key(instance.endpoint), instance) for instance in group.instances)
        now = self._clock.monotonic()
        for instance in self._ejected()[self._room() :]:  # a smaller set has room for fewer
            self._return(instance, now)
        self._arrange()

    def choose(self, tried: Collection[Instance] = ()) -> Instance | None:
        """The instance for a call, other than those `tried`; None when there is no other."""
        now = self._clock.monotonic()
        if now >= self._next_return:
            self._end_ejections(now)
        draw = self._near if self._share >= 1.0 or self._clock.random() < self._share else self._far
        if tried:
            usable = [*self._near.instances, *self._far.instances]
            draw = _Draw(_without(tried, draw.instances) or _without(tried, usable) or _without(tried, self.instances))
        if len(draw.instances) < 2:
            return draw.instances[0] if draw.instances else None
        first, second = draw.two(self._clock)
        return first if first.load(now) <= second.load(now) else second

    def succeeded(self, instance: Instance, seconds: float) -> None:
        """A call to it ended well, after so many seconds."""
        instance.observe(seconds, self._clock.monotonic())
        if instance.failures:
            worked, instance.failures = instance.works, 0
            if instance.works != worked:
                self._arrange()

    def failed(self, instance: Instance, seconds: float, *, reason: str) -> None:
        """A call to it failed after so many seconds, for a reason of its own."""
        now = self._clock.monotonic()
        instance.observe_failure(seconds, now)
        instance.failures += 1
        if instance.works or instance.ejected or self._instances.get(_key(instance.endpoint)) is not instance:
            return
        if len(self._ejected()) < self._room():
            lasting = instance.eject(now)
            where = instance.endpoint.address
            emit(InstanceEjected(service=self.service, instance=where, reason=reason, seconds=lasting))
        self._arrange()

    def _room(self) -> int:
        return int(len(self._instances) * MAX_EJECTED)

    def _ejected(self) -> list[Instance]:
        return [instance for instance in self.instances if instance.ejected]

    def _end_ejections(self, now: float) -> None:
        for instance in self._ejected():
            if instance.until <= now:
                self._return(instance, now)
        self._arrange()

    def _return(self, instance: Instance, now: float) -> None:
        instance.back(now)
        emit(InstanceReturned(service=self.service, instance=instance.endpoint.address))

    def _arrange(self) -> None:
        """Sort out who may be drawn: done when that changes, so that a choice is quick."""
        self._next_return = min((instance.until for instance in self._ejected()), default=math.inf)
        group = next((group for group in self._groups if group.works), None)
        near, far = ([*self.instances], []) if group is None else group.usable()
        self._share = group.share(len(near)) if group and near and far else 1.0 if near else 0.0
        self._near, self._far = _Draw(near), _Draw(far)


class _Group:
    """The instances of one priority, in the own zone and in others."""

    def __init__(self, endpoints: list[Endpoint], zone: str, client: int, known: Mapping[Key, Instance]) -> None:
        near = [endpoint for endpoint in endpoints if not zone or endpoint.zone == zone]
        far = [endpoint for endpoint in endpoints if zone and endpoint.zone != zone]
        self._near = _known(subset(near, client=client), known)
        self._far = _known(subset(far, client=client), known)
        zones = len({endpoint.zone for endpoint in endpoints})
        self._strength = len(near) * zones / len(endpoints)
        """What the own zone can carry, in parts of what comes from it when every zone has as many clients."""
        self.instances: list[Instance] = [*self._near, *self._far]

    @property
    def works(self) -> bool:
        """Whether enough of its instances do."""
        return sum(not instance.works for instance in self.instances) <= len(self.instances) * MAX_EJECTED

    def usable(self) -> tuple[list[Instance], list[Instance]]:
        """Those in the own zone, and the others, without those that are ejected."""
        near = [instance for instance in self._near if not instance.ejected]
        return near, [instance for instance in self._far if not instance.ejected]

    def share(self, usable: int) -> float:
        """The share of calls that stays in the own zone while so many of its instances can be used."""
        return min(1.0, self._strength * usable / len(self._near))


class _Draw:
    """Instances to draw from, each as often as its weight says."""

    __slots__ = ("_steps", "instances")

    def __init__(self, instances: Sequence[Instance]) -> None:
        self.instances = instances
        weights = [instance.endpoint.weight for instance in instances]
        self._steps = list(accumulate(weights)) if len(set(weights)) > 1 else None

    def two(self, clock: Clock) -> tuple[Instance, Instance]:
        """Two different ones."""
        count = len(self.instances)
        if self._steps is None:
            first, second = int(clock.random() * count), int(clock.random() * (count - 1))
            return self.instances[first], self.instances[second + (second >= first)]
        total = self._steps[-1]
        first = bisect_right(self._steps, int(clock.random() * total))
        end, own = self._steps[first], self.instances[first].endpoint.weight
        point = int(clock.random() * (total - own))
        second = bisect_right(self._steps, point if point < end - own else point + own)
        return self.instances[first], self.instances[second]


def _key(endpoint: Endpoint) -> Key:
    return endpoint.host, endpoint.port, endpoint.instance


def _known(endpoints: Iterable[Endpoint], known: Mapping[Key, Instance]) -> list[Instance]:
    instances = []
    for endpoint in endpoints:
        instance = known.get(_key(endpoint)) or Instance(endpoint)
        instance.endpoint = endpoint  # its weight may be another
        instances.append(instance)
    return instances


def _without(tried: Collection[Instance], instances: Collection[Instance]) -> list[Instance]:
    return [instance for instance in instances if instance not in tried]
