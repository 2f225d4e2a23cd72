"""Who the console answers: the token's bearer, by a name of this machine, from no page but its own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from consoleworld import ACT, BASE, BEARER, TOKEN, console, otlp, spanned

from skerry.console import Sources, create_app, serve
from skerry.errors import ConfigurationError

PATHS = ("/", "/api/view", "/api/stream", "/api/traces", "/api/audit", "/assets/app.js", "/nowhere")


def ask(path: str, *, method: str = "GET", static: Path = Path("/nowhere"), **options: Any) -> httpx2.Response:
    async def main() -> httpx2.Response:
        async with console(static=static) as client:
            return await client.request(method, path, **options)

    return asyncio.run(main())


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_answered_without_the_token(path: str) -> None:
    """Not even whether a path exists; a wrong token is none."""
    for headers in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {TOKEN}"},
        {"cookie": f"x={TOKEN}"},
    ):
        assert ask(path, headers=headers).status_code == 401
    assert ask("/v1/traces", method="POST", json={}).status_code == 401
    assert ask(path, headers=[(b"authorization", b"Bearer \xe9\xff")]).status_code == 401


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "localhost.",
        "10.0.0.7",
        "[::2]:80",
        "a b",
        "127.0.0.1:x",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/view", "/v1/traces", f"/?token={TOKEN}"])
def test_a_foreign_host_is_refused(host: str, path: str) -> None:
    """A page whose name was made to lead to this machine has another host: it gets nothing, also with the token."""
    answer = ask(path, headers={**BEARER, "host": host})
    assert answer.status_code == 421
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("host", ["127.0.0.1:4242", "localhost:9", "localhost", "[::1]:4242", "LOCALHOST"])
def test_names_of_this_machine_are_answered(host: str) -> None:
    """By number or name, with whatever port."""
    assert ask("/api/view", headers={**BEARER, "host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "https://127.0.0.1:4242",
        "http://localhost:4242",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/api/view", "/v1/traces"])
def test_a_foreign_origin_is_refused(origin: str, path: str) -> None:
    """Only the console's own pages may ask, and no answer allows others to read it."""
    answer = ask(path, method="POST", headers={**ACT, "origin": origin}, json={})
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_its_own_page_is_answered() -> None:
    """The origin of the console itself is none of a stranger."""
    assert ask("/api/view", headers={**BEARER, "origin": BASE}).status_code == 200


def test_the_opening_address_leaves_a_cookie_and_no_trace() -> None:
    """The cookie is for this site's own requests only, no script reads it, it is not the token, and it opens everything."""
    answer = ask(f"/?token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Strict")
    assert TOKEN not in cookie
    assert ask("/api/view", headers={"cookie": cookie.partition(";")[0]}).status_code == 200
    assert (
        ask("/api/view", headers={"authorization": f"Bearer {cookie.partition('=')[2].partition(';')[0]}"}).status_code
        == 401
    )
    wrong = ask("/?token=wrong", headers=BEARER)
    assert wrong.status_code == 401
    assert "set-cookie" not in wrong.headers


def test_a_token_elsewhere_in_an_address_opens_nothing() -> None:
    """Addresses are written into histories and logs: only the opening one takes a token."""
    assert ask(f"/api/view?token={TOKEN}").status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-skerry": "1"}, 415),
        ({"x-skerry": "1", "content-type": "text/plain"}, 415),
        ({"x-skerry": "1", "content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "application/json"}, 403),
        ({"content-type": "application/json", "x-skerry": "0"}, 403),
    ],
)
def test_a_form_of_another_page_changes_nothing(headers: dict[str, str], status: int) -> None:
    """What changes something is JSON with a header of ours; a page elsewhere cannot send either without being asked."""
    answer = ask("/api/dead/order/1/drop", method="POST", headers={**BEARER, **headers}, content=b'{"confirm": "1"}')
    assert answer.status_code == status


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "DELETE", "TRACE", "PATCH"])
def test_other_methods_are_refused(method: str) -> None:
    """A preflight is answered by no permission."""
    answer = ask("/api/view", method=method, headers=BEARER)
    assert answer.status_code == 405


@pytest.mark.parametrize("path", [*PATHS[:2], "/nowhere", "/app.js"])
def test_every_answer_forbids_what_is_not_the_console_s_own(path: str, tmp_path: Path) -> None:
    """No script, style or frame from elsewhere or inline, no sniffing, no referrer; refused requests say so too."""
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "app.js").write_text("1")
    for headers in (BEARER, {}):
        said = ask(path, headers=headers, static=tmp_path).headers
        assert said["content-security-policy"].startswith("default-src 'self';")
        assert "unsafe" not in said["content-security-policy"]
        assert said["x-content-type-options"] == "nosniff"
        assert said["x-frame-options"] == "DENY"


def test_static_files_end_at_their_folder(tmp_path: Path) -> None:
    """No path leads out of it."""
    folder = tmp_path / "static"
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html>page")
    (tmp_path / "secret.txt").write_text("secret")
    assert "page" in ask("/", headers=BEARER, static=folder).text
    for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/.%00/secret.txt"):
        answer = ask(path, headers=BEARER, static=folder)
        assert answer.status_code in {400, 404}
        assert "secret" not in answer.text


def test_hostile_names_are_data() -> None:
    """Markup in the name of a service comes back as JSON, typed as JSON, and one stream event stays one event."""
    hostile = "</script><script>alert(1)</script>\n\nevent: view\ndata: {}\n\n"

    async def main() -> None:
        async with console() as client:
            body = json.dumps(otlp(hostile, spanned(name=hostile))).encode()
            await client.post("/v1/traces", content=body, headers={**BEARER, "content-type": "application/json"})
            answer = await client.get("/api/view", headers=BEARER)
            assert answer.headers["content-type"] == "application/json"
            assert answer.json()["services"][0]["name"] == hostile
            assert (await client.get("/api/service?name=nobody", headers=BEARER)).json() == {
                "error": "nobody has heard of this service"
            }

    asyncio.run(main())


@pytest.mark.parametrize("name", ["team/order", "a\nb", "../view", "..", ".", "a//b/"])
def test_a_service_of_any_name_has_its_page(name: str) -> None:
    """Who sends spans is called as he likes."""

    async def main() -> None:
        async with console() as client:
            body = json.dumps(otlp(name, spanned())).encode()
            await client.post("/v1/traces", content=body, headers={**BEARER, "content-type": "application/json"})
            answer = await client.get("/api/service", params={"name": name}, headers=BEARER)
            assert answer.json()["name"] == name

    asyncio.run(main())


def test_a_short_token_is_refused() -> None:
    """What could be guessed is no token."""
    for token in ("", "short", "x" * 15, "\u00e9" * 20, "a" * 16 + "\n"):
        with pytest.raises(ConfigurationError, match="token has to have 16"):
            create_app(Sources(), token=token)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "example.com", "127.0.0.1.example.com", ""])
def test_it_does_not_listen_elsewhere_unless_that_was_said(host: str) -> None:
    """An address that others reach needs a word that it is meant."""
    with pytest.raises(ConfigurationError, match="does not listen on"):
        serve(Sources(), token=TOKEN, host=host)
