"""A file that is read again: what is the same is the same object, and what is found is what reading it anew finds."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from skerry.errors import ConfigurationError, Mistakes
from skerry.gateway import reading
from skerry.gateway.model import GatewaySpec

TEXT = """
name: shop
listeners: [{name: http, hostnames: [shop.test]}]
services: {a: {url: "http://127.0.0.1:1"}, b: {url: "http://127.0.0.1:2"}}
jwt: {id: {issuer: "https://id.test", audiences: [shop], jwks_file: keys.json}}
routes:
  - path: /a
    service: a
    auth: id
  - {path: /b, service: b, policy: {total: 3}}
  - name: third
    path: /c
    service: a
    cors: {origins: ["https://shop.test"]}
    methods: [GET]
"""
TEXTS = (
    TEXT,
    TEXT.replace("total: 3", "total: 4"),
    TEXT.replace("  - path: /a\n", "  # a line more\n  - path: /a\n"),
    TEXT.replace("name: shop", "name: other"),
    "# ümläute before it all\n" + TEXT,
    TEXT.replace("\n", "\r\n"),
    TEXT.replace("jwt: {id:", "jwt: {other:"),
    TEXT.replace("hostnames: [shop.test]", "hostnames: [else.test]"),
    TEXT.replace("service: b,", "service: nobody,"),
    TEXT.replace("path: /b,", "path: /a,"),
    TEXT.replace("path: /b,", "pfad: /b,"),
    TEXT.replace("total: 3", "total: never"),
    TEXT.replace("routes:\n", "defaults: {compress: true}\nroutes:\n"),
    TEXT.replace("  - path: /a\n", "  - &one\n    path: /a\n"),
    TEXT.replace("{total: 3}", "&bounds {total: 3}").replace("    methods: [GET]\n", "    policy: *bounds\n"),
    TEXT.replace("{total: 3}", "&bounds {total: 9}").replace("    methods: [GET]\n", "    policy: *bounds\n"),
    TEXT.replace("    service: a\n    auth: id\n", "    service: a\n"),
    TEXT.replace("    auth: id\n", "      auth: id\n"),
    TEXT.replace("  - path: /a", "  - hostnames: [shop.test]\n    path: /a"),
    "\ufeff" + TEXT,
    "routes: {",
    "",
)


def found(read: GatewaySpec | ConfigurationError) -> object:
    """What came of it, comparable: also a mistake's line and field."""
    if isinstance(read, GatewaySpec):
        return read
    every = read.all if isinstance(read, Mistakes) else (read,)
    return [(str(each), each.line, each.field) for each in every]


def outcome(reader: reading.Reader, path: Path) -> object:
    try:
        return found(reader.read(path))
    except ConfigurationError as error:
        return found(error)


def test_what_was_read_before_changes_nothing_about_what_is_found(tmp_path: Path) -> None:
    """After any text, any other is read as if it were the first: values, mistakes, lines and fields."""
    path = tmp_path / "gateway.yaml"
    anew = {}
    for text in TEXTS:
        path.write_bytes(text.encode())
        anew[text] = outcome(reading.Reader(), path)
    assert sum(isinstance(each, GatewaySpec) for each in anew.values()) >= 10
    for before, after in product(TEXTS, TEXTS):
        reader = reading.Reader()
        for text in (before, after, before, after):
            path.write_bytes(text.encode())
            assert outcome(reader, path) == anew[text]


def test_routes_that_stay_are_the_same_objects(tmp_path: Path) -> None:
    """One route is another: the one before it keeps its identity, by which it is known to who compiles it."""
    path, reader = tmp_path / "gateway.yaml", reading.Reader()
    path.write_text(TEXT)
    first = reader.read(path)
    path.write_text(path.read_text().replace("total: 3", "total: 4"))
    second = reader.read(path)
    same = [one is other for one, other in zip(first.routes, second.routes, strict=True)]
    assert same == [True, False, False]  # the third one has preflights, which are found out anew


def test_the_same_text_is_the_same_specification(tmp_path: Path) -> None:
    """A file that was touched, or a share that changed beside it, costs no reading."""
    path, reader = tmp_path / "gateway.yaml", reading.Reader()
    path.write_text(TEXT)
    assert reader.read(path) is reader.read(path)
