"""The address of a broker: where it is, who asks, and the adapter's options in its query. A password is never shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from skerry.errors import BrokerUnavailable, ConfigurationError
from skerry.events.brokers.port import Durability

T = TypeVar("T")
DURABILITIES: Mapping[str, Durability] = {"flushed": "flushed", "replicated": "replicated", "process": "process"}


@dataclass(frozen=True, slots=True)
class Address:
    """An address in parts: `hosts` are host:port each. `str()` of it shows neither user nor password."""

    scheme: str
    hosts: tuple[str, ...]
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    path: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, url: str, *, port: int, allowed: Mapping[str, str]) -> Address:
        """Read SCHEME://[USER[:PASSWORD]@]HOST[:PORT][,HOST...][/PATH][?OPTIONS].

        `allowed` names the options with what they are for. Raises `ConfigurationError`, also for an option that is not
        among them, without repeating the address.
        """
        scheme = url.partition(":")[0]
        try:
            parts = urlsplit(url)
            pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), max_num_fields=32)
        except ValueError:
            raise ConfigurationError(f"the address of the {scheme} broker cannot be read") from None
        options = dict(pairs)
        unknown = sorted(options.keys() - allowed.keys())
        if unknown or len(options) < len(pairs) or parts.fragment:
            what = f"the option {unknown[0]!r}" if unknown else "an option twice, or a fragment"
            known = ", ".join(allowed)
            raise ConfigurationError(f"the address of the {scheme} broker has {what}; known are: {known}")
        login, _, where = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        hosts = tuple(_with_port(host, port, scheme) for host in where.split(",") if host)
        if not hosts:
            raise ConfigurationError(f"the address of the {scheme} broker names no host: {scheme}://HOST:{port}")
        address = cls(parts.scheme, hosts, unquote(user), unquote(password), unquote(parts.path.lstrip("/")), options)
        address.check()
        return address

    def check(self) -> None:
        """Raises `ConfigurationError` when one of the options that all adapters have cannot be read."""
        for value in (self.durability, self.namespace, self.timeout):
            assert value

    def __str__(self) -> str:
        return f"{self.scheme}://{','.join(self.hosts)}"

    def option(
        self, name: str, default: T, read: Callable[[str], T], *, unless: Callable[[T], bool] | None = None
    ) -> T:
        """An option's value. Raises `ConfigurationError` when it cannot be read, or is one that `unless` refuses."""
        text = self.options.get(name)
        if text is None:
            return default
        try:
            value = read(text)
        except (ValueError, KeyError):
            raise ConfigurationError(f"{self}: the option {name} cannot be {text!r}") from None
        if unless is not None and unless(value):
            raise ConfigurationError(f"{self}: the option {name} cannot be {text!r}")
        return value

    def positive(self, name: str, default: int) -> int:
        """An option that is a whole number of at least 1."""
        return self.option(name, default, int, unless=lambda value: value < 1)

    @property
    def durability(self) -> Durability:
        """What the operator promises, "process" when nothing was said."""
        return self.option("durability", "process", DURABILITIES.__getitem__)

    @property
    def namespace(self) -> str:
        """The first word of all names at the broker, so that systems can share one."""

        def fits(text: str) -> bool:
            return len(text) <= 64 and text.isascii() and text.replace("-", "").isalnum()

        return self.option("namespace", "events", str, unless=lambda text: not fits(text))

    @property
    def timeout(self) -> float:
        """Seconds that one question to the broker may take."""
        return self.option("timeout", 5.0, float, unless=lambda value: not 0.0 < value <= 3600.0)

    def unavailable(self, error: BaseException | str) -> BrokerUnavailable:
        """The error for a broker that cannot be reached, or does not do what it is asked, without the password."""
        text = error if isinstance(error, str) else f"{type(error).__name__}: {error}".rstrip(": ")
        return BrokerUnavailable(f"{self}: {self.redacted(text)[:300]}")

    def redacted(self, text: str) -> str:
        """The text without the password."""
        for secret in {self.password, quote(self.password, safe="")} - {""}:
            text = text.replace(secret, "***")
        return text


def _with_port(host: str, port: int, scheme: str) -> str:
    name, colon, number = host.rpartition(":")
    if not colon or host.endswith("]"):
        return f"{host}:{port}"
    if not name or not number.isdigit() or not 0 < int(number) < 65536:
        raise ConfigurationError(f"the address of the {scheme} broker has a wrong port")
    return host


COMMON = {
    "durability": "what an acknowledged publish survives",
    "namespace": "the first word of all names at the broker",
    "timeout": "seconds that one question may take",
}
