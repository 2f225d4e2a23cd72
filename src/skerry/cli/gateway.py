"""`skerry gateway`: check, run and export what a gateway serves."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

import click

from skerry.cli import options
from skerry.cli.text import write
from skerry.errors import ConfigurationError, Mistakes
from skerry.topology import ENGINES

if TYPE_CHECKING:
    from skerry.gateway.model import GatewaySpec
    from skerry.gateway.reading import Reader
    from skerry.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
_FILE: Final = click.Path(dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a specification comes from: a file of our own, or manifests of the Gateway API with the backends' addresses."""

    spec: Path | None
    manifests: Path | None
    backends: Path | None
    port: int | None = None
    address: str | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """What is read."""
        return tuple(file for file in (self.spec, self.manifests, self.backends) if file is not None)

    def read(self, *, reader: Reader | None = None) -> GatewaySpec:
        """The specification, with the port of its first listener and the address of all replaced as was asked for. A `reader`
        knows what it read before.
        """
        if self.spec is not None:
            from skerry.gateway import reading

            spec = (reader or reading.Reader()).read(self.spec)
        else:
            from skerry.gateway import kubernetes

            assert self.manifests is not None
            spec = kubernetes.read(self.manifests, backends=self.backends)
        listeners = list(spec.listeners)
        if self.port is not None:
            listeners[0] = replace(listeners[0], port=self.port)
        if self.address is not None:
            listeners = [replace(listener, address=self.address) for listener in listeners]
        return replace(spec, listeners=tuple(listeners))


class Serve(Protocol):
    """How an engine is asked to serve until it is told to stop."""

    def __call__(
        self,
        load: Callable[[], GatewaySpec],
        *,
        addresses: Mapping[str, tuple[str, ...]],
        settings: Settings,
        watch: Sequence[Path] = (),
        **more: Any,
    ) -> None: ...


def which_spec(command: F) -> F:
    """Argument SPEC and options `--gateway-api` and `--backends`: the command gets `source`."""

    @wraps(command)
    def told(*, spec: Path | None, manifests: Path | None, backends: Path | None, **others: Any) -> Any:
        if (spec is None) == (manifests is None):
            raise click.UsageError("name a SPEC or, with --gateway-api, manifests of the Gateway API: one of them")
        if backends is not None and manifests is None:
            raise click.UsageError("--backends goes with --gateway-api: a SPEC says its services' addresses itself")
        return command(source=Source(spec, manifests, backends), **others)

    found: Any = told
    for option in (
        click.option(
            "--backends",
            type=_FILE,
            help="Where the manifests' services are: YAML or JSON that maps NAME, NAME:PORT or NAMESPACE/NAME:PORT to "
            "HOST:PORT. Those that are not in it answer 500, as the Gateway API demands.",
        ),
        click.option("--gateway-api", "manifests", type=_FILE, help="Manifests of Kubernetes, instead of a SPEC."),
        click.argument("spec", metavar="[SPEC]", required=False, type=_FILE),
    ):
        found = option(found)
    return cast("F", found)


@click.group()
def gateway() -> None:
    """Check, run and export what a gateway serves: gateway.yaml, or manifests of the Kubernetes Gateway API.

    check takes -o [text|json].
    """


@gateway.command()
@which_spec
@click.option("--engine", type=click.Choice(ENGINES), help="Also check that this engine can do all of it.")
@options.output
@click.pass_context
def check(ctx: click.Context, source: Source, engine: str | None, output: str) -> None:
    """Say all that is wrong with a specification, each with its file, line and field. Exit status 1 when something is."""
    mistakes: tuple[ConfigurationError, ...] = ()
    differences: tuple[str, ...] = ()
    spec: GatewaySpec | None = None
    try:
        spec = source.read()
        if engine == "envoy":
            differences = _compile(spec)
    except Mistakes as error:
        mistakes = error.all
    except ConfigurationError as error:
        mistakes = (error,)
    if output == "json":
        told = [
            {"file": each.source, "line": each.line, "field": each.field, "message": str(each)} for each in mistakes
        ]
        found: dict[str, Any] = {"ok": not mistakes, "routes": len(spec.routes) if spec else None, "mistakes": told}
        if engine == "envoy":
            found["differences"] = differences
        click.echo(json.dumps(found))
    elif mistakes:
        click.echo("\n".join(f"error: {each}" for each in mistakes), err=True)
    elif spec is not None:
        click.echo(f"{source.files[0]}: {len(spec.routes)} routes to {len(spec.called)} services, nothing is wrong")
        for difference in differences:
            click.echo(f"differs on Envoy: {difference}")
    ctx.exit(1 if mistakes else 0)


def _compile(spec: GatewaySpec) -> tuple[str, ...]:
    """Have Envoy's compiler look at it, and tell what will differ; where services are does not matter to that."""
    envoy: Any = importlib.import_module("skerry.gateway.envoy")
    told = {service.name for service in spec.services if service.urls}
    compiled = envoy.compile(spec, addresses=dict.fromkeys(spec.called - told, ("http://127.0.0.1:9",)))
    differences: tuple[str, ...] = compiled.differences
    return differences


@gateway.command()
@which_spec
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Instead of the first listener's port; 0: any free one, which is told.",
)
@click.option("--address", help="Instead of the addresses of all listeners.")
@click.option(
    "--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes of the embedded engine."
)
@click.option("--engine", type=click.Choice(ENGINES), default="embedded", show_default=True, help="Who serves.")
@click.option("--watch/--no-watch", default=False, show_default=True, help="Read the files again when they change.")
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the ramps of strangled routes are kept, for a SPEC that has some. [default: var/strangle]",
)
def run(
    source: Source, port: int | None, address: str | None, workers: int, engine: str, *, watch: bool, state: Path | None
) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain. SIGHUP reads the files again; when they are wrong, all stays as it was.

    With a strangled route it also runs the process that decides about it; see skerry strangle.

    Addresses of services come from the SPEC, or from SKERRY_URL_NAME; see also SKERRY_DRAIN and SKERRY_LOG_LEVEL.
    """
    if engine == "envoy" and workers != 1:
        raise click.UsageError("--workers is for the embedded engine; Envoy has threads of its own")
    from skerry.gateway import reading
    from skerry.gateway.strangler.keeping import served
    from skerry.settings import Settings
    from skerry.telemetry import configure_logging, telling

    settings = Settings.from_environ()
    addresses = reading.places(settings.urls)
    source, reader = replace(source, port=port, address=address), reading.Reader()

    def load() -> GatewaySpec:
        spec = source.read(reader=reader)
        reading.check_addresses(spec, addresses)
        return spec

    first = load()
    name = first.name
    configure_logging(name, settings.log_level)
    serve, watched = _engine(engine, workers), source.files if watch else ()
    with (
        telling(name, settings),
        served(load, first, spec=source.spec, folder=state, watched=watched) as (loaded, files, more),
    ):
        serve(loaded, addresses=addresses, settings=settings, watch=files, **more)


def _ready(ports: Mapping[str, int]) -> None:
    told = ", ".join(f"{name} on port {port}" for name, port in ports.items())
    click.echo(f"gateway: ready: {told}", err=True)


def _engine(name: str, workers: int) -> Serve:
    # an engine is imported when it serves: Envoy's needs packages that the other does not, and each takes its time
    engine: Any = importlib.import_module("skerry.gateway." + {"embedded": "engine", "envoy": "envoy"}[name])
    serve: Serve = partial(engine.serve, ready=_ready)
    return serve if name == "envoy" else partial(engine.serve, ready=_ready, workers=workers)


@gateway.command()
@which_spec
@click.option("--allow-loss", is_flag=True, help="Write it although the Gateway API has no words for some of it.")
@click.option("--file", "out", type=_FILE, help="Where to write it. [default: standard output]")
@click.pass_context
def export(ctx: click.Context, source: Source, out: Path | None, *, allow_loss: bool) -> None:
    """Write a specification as Gateway and HTTPRoute manifests of Kubernetes.

    What these cannot say is listed on standard error. It is an error, and nothing is written, unless --allow-loss is given.
    """
    from skerry.gateway import kubernetes

    made = kubernetes.write(source.read())
    for lost in made.lost:
        click.echo(f"{'lost' if allow_loss else 'error: would be lost'}: {lost}", err=True)
    if made.lost and not allow_loss:
        ctx.exit(1)
    if out is None:
        click.echo(made.text, nl=False)
    else:
        write(made.text, out)


@gateway.command()
def schema() -> None:
    """Print the JSON Schema of gateway.yaml, for editors and pipelines."""
    from skerry.gateway import reading

    click.echo(json.dumps(reading.schema(), indent=2))
