"""Traces with one fault each, and traces that look like faults and are none."""

from __future__ import annotations

from collections.abc import Callable

from writing import Story, Told


def chain(story: Story, *services: str) -> None:
    """Each waits for the next one."""
    for _ in range(3):
        at = story.span(services[0], "POST /a", http__request__method="POST", http__route="/a", length=0.5)
        for callee in services[1:]:
            at = story.call(at, callee, "POST /a", length=max(at.length - 0.01, 0.01))


def shared_database(story: Story) -> None:
    for service in ("orders", "billing"):
        entry = story.span(service, "POST /a", http__route="/a")
        story.data(entry, "db-1", "shop", f"INSERT INTO invoices (id, name) VALUES (1, '{service}')")


def no_breaker(story: Story) -> None:
    """A peer that is well for a minute and then down for another; the caller asks it once a second all the time."""
    for second in range(120):
        entry = story.span("checkout", "POST /pay", at=float(second), http__route="/pay", error=second >= 60)
        story.call(entry, "payment", "POST /charges", error=second >= 60)


def no_timeout(story: Story) -> None:
    entry = story.span("checkout", "GET /rates", length=95.0, http__route="/rates")
    story.call(entry, "rates", "GET /rates", length=94.0)


def no_compensation(story: Story) -> None:
    entry = story.span("orders", "POST /orders", error=True, length=0.9, http__route="/orders")
    story.call(entry, "payment", "POST /charges", at=0.1)
    story.call(entry, "shipping", "POST /shipments", at=0.4, error=True)


def chatty(story: Story, times: int, *, apart: bool = True) -> None:
    for _ in range(4):
        entry = story.span("basket", "GET /baskets/{id}", http__route="/baskets/{id}", length=times * 0.02)
        for number in range(times):
            story.call(entry, "catalogue", f"GET /products/{number if apart else 7}", at=0.015 * number, length=0.01)


def mixed_names(story: Story) -> None:
    """One service was moved to the stable conventions, the other one was not; neither says which table it means."""
    first = story.span("orders", "POST /a")
    tags = {"db.system": "postgresql", "net.peer.name": "db-1", "db.name": "shop"}
    story.span("orders", "INSERT", "client", below=first, **tags, **{"db.statement": "INSERT INTO invoices VALUES (1)"})
    second = story.span("billing", "POST /b")
    tags = {"db.system.name": "postgresql", "server.address": "db-1", "server.port": "5432", "db.namespace": "shop"}
    story.span("billing", "UPDATE invoices", "client", below=second, **tags, **{"db.operation.name": "UPDATE"})


def without_clients(story: Story, times: int) -> None:
    """Only what answers was recorded."""
    entry = story.span("basket", "GET /baskets", http__route="/baskets")
    for number in range(times):
        story.span(
            "catalogue", "GET /products/{id}", below=entry, at=number * 0.01, length=0.005, http__route="/products/{id}"
        )


def alike_names(story: Story) -> None:
    """Services whose names differ by a word that often is left out."""
    chain(story, "payment", "payment-api", "payment-service", "payment-server")


def slow_statement(story: Story) -> None:
    entry = story.span("orders", "GET /orders", length=50.0)
    story.data(entry, "db-1", "orders", "SELECT * FROM orders", length=49.0)


def status_alone(story: Story) -> None:
    """No span is marked as an error; the status of the answers says it."""
    for second in range(40):
        entry = story.span("checkout", "POST /pay", at=float(second), http__response__status_code=502)
        story.call(entry, "payment", "POST /charges", http__response__status_code=503)


def by_grpc(story: Story, times: int) -> None:
    entry = story.span("basket", "Basket/Show", rpc__system="grpc", rpc__method="Show")
    for number in range(times):
        tags = {"rpc.system": "grpc", "rpc.service": "shop.Catalogue", "rpc.method": "GetProduct"}
        asked = story.span(
            "basket", "shop.Catalogue/GetProduct", "client", below=entry, at=number * 0.02, length=0.01, **tags
        )
        story.span("catalogue", "shop.Catalogue/GetProduct", below=asked, length=0.008, **tags)


def only_answers(story: Story) -> None:
    """The calls that were made are known by their answers alone."""
    entry = story.span("orders", "POST /orders", error=True, length=0.9, http__route="/orders")
    for at, callee, error in ((0.1, "payment", False), (0.4, "shipping", True)):
        story.span(
            callee, "POST /work", below=entry, at=at, error=error, http__request__method="POST", http__route="/work"
        )


PLANTED: dict[str, tuple[str, str, Callable[[Story], None]]] = {
    "shared-database": ("shared-database", "error", shared_database),
    "sync-chain-3": ("sync-chain", "warning", lambda story: chain(story, "web", "orders", "payment", "ledger")),
    "sync-chain-4": ("sync-chain", "error", lambda story: chain(story, "web", "orders", "payment", "ledger", "audit")),
    "no-circuit-breaker": ("no-circuit-breaker", "warning", no_breaker),
    "no-timeout": ("no-timeout", "error", no_timeout),
    "no-compensation": ("no-compensation", "error", no_compensation),
    "chatty-5": ("chatty", "warning", lambda story: chatty(story, 5)),
    "chatty-20": ("chatty", "error", lambda story: chatty(story, 20)),
    "only-answers": ("no-compensation", "error", only_answers),
    "mixed-names": ("shared-database", "error", mixed_names),
    "without-clients": ("chatty", "warning", lambda story: without_clients(story, 7)),
    "alike-names": ("sync-chain", "warning", alike_names),
    "slow-statement": ("no-timeout", "error", slow_statement),
    "status-alone": ("no-circuit-breaker", "warning", status_alone),
    "grpc": ("chatty", "error", lambda story: by_grpc(story, 25)),
    "chatty-alike": ("chatty", "warning", lambda story: chatty(story, 6, apart=False)),
}
"""By name: the rule, the severity, the story."""


def fan_out(story: Story) -> None:
    """One asks many at once; the width is no depth, and each is asked once."""
    entry = story.span("home", "GET /", http__route="/")
    for callee in ("orders", "payment", "ledger", "catalogue", "reviews", "adverts", "shipping"):
        story.call(entry, callee, "GET /summary", at=0.001)


def retries(story: Story) -> None:
    """Six tries of one call, of which the last one goes well."""
    entry = story.span("orders", "POST /orders", http__route="/orders", length=3.0)
    for attempt in range(6):
        story.call(entry, "payment", "POST /charges", at=attempt * 0.4, error=attempt < 5)


def polling(story: Story) -> None:
    """One asks for a job's state every half second."""
    entry = story.span("reports", "POST /reports", http__route="/reports", length=6.0)
    for number in range(10):
        story.call(entry, "renderer", "GET /jobs/17", at=number * 0.5, length=0.01)
        story.call(entry, "printer", "GET /prints/4/copies", at=number * 0.5, length=0.25)


def pages(story: Story) -> None:
    """Nine pages of one list."""
    entry = story.span("reports", "GET /all", http__route="/all")
    for number in range(9):
        story.call(entry, "orders", f"GET /orders?size=100&page={number}", at=number * 0.01, length=0.005)


def cache_misses(story: Story) -> None:
    """A cache that is asked thirty times in one request, and a peer that says 404 for a minute."""
    for second in range(60):
        entry = story.span("catalogue", "GET /products", at=float(second), http__route="/products")
        for number in range(30 if second < 3 else 1):
            story.span(
                "catalogue",
                "GET",
                "client",
                below=entry,
                at=number * 0.001,
                length=0.0005,
                db__system__name="redis",
                server__address="cache",
                db__operation__name="GET",
            )
        story.call(entry, "images", "GET /thumbnails", error=True, http__response__status_code=404)


def async_links(story: Story) -> None:
    """Messages from one to the next: nobody waits, however long the way."""
    entry = story.span("orders", "POST /orders", http__route="/orders")
    at = entry
    for number, taker in enumerate(("payment", "shipping", "mailing", "archive")):
        topic = f"topic-{number}"
        sent = story.span(
            at.service,
            f"{topic} publish",
            "producer",
            below=at,
            **{"messaging.system": "kafka"},
            messaging__destination__name=topic,
        )
        at = story.span(
            taker,
            f"{topic} process",
            "consumer",
            below=sent,
            at=1.0,
            **{"messaging.system": "kafka"},
            messaging__destination__name=topic,
        )


def long_polling(story: Story) -> None:
    """A question that is meant to wait for news."""
    story.call(story.span("feed", "loop", "internal", length=60.0), "hub", "GET /events?wait=55", length=55.0)
    story.call(story.span("feed", "loop", "internal", length=60.0), "hub", "GET /poll", length=50.0)


def batch(story: Story) -> None:
    """A consumer that works through fifty things of one message, each with a call."""
    entry = story.span(
        "mailer", "newsletters process", "consumer", length=5.0, messaging__destination__name="newsletters"
    )
    for number in range(50):
        story.call(entry, "addresses", f"GET /people/{number}", at=number * 0.05, length=0.02)


def skew(story: Story) -> None:
    """The peer's clock is ten minutes ahead; what it did stands before and after its callers."""
    for _ in range(3):
        entry = story.span("orders", "POST /orders", http__route="/orders", length=0.2)
        answer = story.call(entry, "payment", "POST /charges", length=0.1)
        answer.start += 600.0
        story.data(answer, "payment-db", "payment", "INSERT INTO charges VALUES (?)")
        story.data(entry, "orders-db", "orders", "UPDATE orders SET state = 'paid' WHERE id = 7")


def open_breaker(story: Story) -> None:
    """A peer is down for two minutes; five calls go to it, and then a probe every half minute."""
    for second in range(60):
        story.call(story.span("checkout", "POST /pay", at=float(second)), "payment", "POST /charges")
    for second in (60, 60.5, 61, 61.5, 62, 92, 122, 152):
        story.call(story.span("checkout", "POST /pay", at=float(second)), "payment", "POST /charges", error=True)


def gave_up(story: Story) -> None:
    """Slow, and ended by its limit."""
    entry = story.span("checkout", "GET /rates", length=61.0)
    story.call(entry, "rates", "GET /rates", length=60.0, error=True, error__type="ReadTimeout")
    story.call(entry, "rates", "GET /rates", length=31.0)


def undone(story: Story) -> None:
    """The second call fails, and the first one is taken back."""
    entry = story.span("orders", "POST /orders", error=True, length=0.9)
    story.call(entry, "payment", "POST /charges", at=0.1)
    story.call(entry, "shipping", "POST /shipments", at=0.4, error=True)
    story.call(entry, "payment", "POST /charges/9/refund", at=0.6)


def own_data(story: Story) -> None:
    """Two databases of one server, and a worker beside its web server."""
    for service, database in (("orders", "orders"), ("orders-worker", "orders"), ("billing", "billing")):
        entry: Told = story.span(service, "POST /a")
        story.data(entry, "db-1", database, "INSERT INTO rows VALUES (1)")


def before_the_services(story: Story) -> None:
    """A gateway and a load generator are no hops."""
    chain(story, "load-generator", "api-gateway", "orders", "payment", "ledger")


def tries_that_go_well(story: Story) -> None:
    """For two minutes each call needs three tries."""
    for second in range(0, 120, 2):
        entry = story.span("checkout", "POST /pay", at=float(second), length=1.0)
        for attempt in range(3):
            story.call(entry, "payment", "POST /charges", at=attempt * 0.3, error=attempt < 2)


def store_by_name(story: Story) -> None:
    """Drivers of a cache that say whom they ask and no more, from a browser's request on."""
    entry = story.span("orders", "GET /orders", below=story.span("web-client", "load", "internal"))
    for number in range(12):
        story.span("orders", "GET", "client", below=entry, at=number * 0.001, length=0.0005, peer__service="redis")


def other_fallback(story: Story) -> None:
    """What failed was not needed: the request went well."""
    entry = story.span("orders", "POST /orders", http__response__status_code=201)
    story.call(entry, "payment", "POST /charges", at=0.001)
    story.call(entry, "mailing", "POST /mails", at=0.06, error=True)


def reports(story: Story) -> None:
    """A tool that looks into a service's database, and a job that migrates it."""
    for service in ("orders", "metabase", "orders-migrations"):
        story.data(story.span(service, "work", "internal"), "db-1", "orders", "SELECT * FROM orders")


CLEAN: dict[str, Callable[[Story], None]] = {
    each.__name__.replace("_", "-"): each
    for each in (
        fan_out,
        retries,
        polling,
        pages,
        cache_misses,
        async_links,
        long_polling,
        batch,
        skew,
        open_breaker,
        gave_up,
        undone,
        own_data,
        before_the_services,
        tries_that_go_well,
        store_by_name,
        other_fallback,
        reports,
    )
}
