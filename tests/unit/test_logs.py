import io
import json
import logging
import sys

import pytest

from skerry.context import CallContext, use
from skerry.errors import ConfigurationError
from skerry.signals import BreakerChanged, Hub, ProcessChanged, RelayFailed, RequestFailed, RetryPlanned
from skerry.telemetry import configure_logging, log_signals
from skerry.telemetry.logs import MAX_TEXT, redact
from skerry.testing import VirtualClock

OPENED = BreakerChanged(policy="payment", before="closed", after="open", reason="9 of 9 calls failed")


@pytest.fixture
def root_logger():
    """The root logger, put back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:], root.level = handlers, level
    logging.getLogger("uvicorn.access").disabled = False


def test_a_signal_is_one_line():
    """A signal becomes one JSON object with time, level, service, its class and its fields, until unsubscribed."""
    hub, out = Hub(), io.StringIO()
    stop = log_signals(out, service="order", hub=hub, clock=VirtualClock(start=0.25))
    hub.emit(OPENED)
    stop()
    hub.emit(OPENED)
    assert out.getvalue().count("\n") == 1
    assert json.loads(out.getvalue()) == {
        "time": "1970-01-01T00:00:00.250Z",
        "level": "warning",
        "service": "order",
        "signal": "BreakerChanged",
        "policy": "payment",
        "before": "closed",
        "after": "open",
        "reason": "9 of 9 calls failed",
    }


def test_trace_id_is_added_when_there_is_one():
    """Inside a trace each line carries its id."""
    hub, out = Hub(), io.StringIO()
    log_signals(out, service="order", hub=hub)
    with use(CallContext(traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01")):
        hub.emit(OPENED)
    assert json.loads(out.getvalue())["trace_id"] == "ab" * 16


def test_level_filters():
    """Signals below the level are left out."""
    hub, out = Hub(), io.StringIO()
    log_signals(out, service="order", level="warning", hub=hub)
    hub.emit(RetryPlanned(policy="p", attempt=1, delay=0.1, error="OSError"))
    hub.emit(ProcessChanged(name="order", state="ready"))
    hub.emit(OPENED)
    assert [json.loads(line)["signal"] for line in out.getvalue().splitlines()] == ["BreakerChanged"]


def test_unknown_level_is_refused():
    """A level that does not exist is a ConfigurationError."""
    with pytest.raises(ConfigurationError, match="loud"):
        log_signals(service="order", level="loud", hub=Hub())


def test_signals_keep_to_one_line_and_valid_json():
    """Newlines, escapes and numbers JSON does not know cannot break a line."""
    hub, out = Hub(), io.StringIO()
    log_signals(out, service="order", hub=hub)
    hub.emit(RelayFailed(service="order", error='x\n{"level": "info"}\x1b[31m\u2028', delay=float("nan")))
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().isascii()
    assert "\x1b" not in out.getvalue()
    assert json.loads(out.getvalue())["delay"] == "nan"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://ann:s3cret@db:5432/shop", "postgresql://***@db:5432/shop"),
        ("nats://u:p@ss@w0rd@host and redis://:pw@host", "nats://***@host and redis://***@host"),
        ("https://example.org/a@b", "https://example.org/a@b"),
        ("Authorization: Basic YW5uOnBhc3M=", "Authorization: ***"),
        ('{"authorization": "Bearer abc.def"}', '{"authorization": "***"}'),
        ("[(b'authorization', b'Basic abc')]", "[(b'authorization', b'***')]"),
        ("token was Bearer eyJhbGciOi.J9-_x", "token was Bearer ***"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_credentials_are_cut_out(text, expected):
    """User and password in URLs, Authorization values and bearer tokens never reach the log."""
    assert redact(text) == expected


def test_secrets_in_signals_are_cut_out():
    """Redaction applies to every text of a signal."""
    hub, out = Hub(), io.StringIO()
    log_signals(out, service="order", hub=hub)
    hub.emit(RequestFailed(service="order", method="GET", route="/", error="postgresql://ann:s3cret@db"))
    assert "s3cret" not in out.getvalue()


def test_stdlib_logging_has_the_same_shape(root_logger):
    """A library's log record becomes a line like a signal's."""
    out = io.StringIO()
    configure_logging("order", "info", out)
    logging.getLogger("some.library").warning("connected to %s", "amqp://u:p@host")
    logging.getLogger("some.library").debug("too quiet")
    line = json.loads(out.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "service": "order",
        "logger": "some.library",
        "message": "connected to amqp://***@host",
    }


def test_exceptions_are_cut_to_their_end(root_logger):
    """A traceback is one field, without secrets, cut to its last part."""
    out = io.StringIO()
    configure_logging("order", stream=out)
    try:
        raise ValueError("x" * 10_000 + " postgresql://ann:s3cret@db the end")
    except ValueError:
        logging.getLogger().critical("failed", exc_info=sys.exc_info())
    line = json.loads(out.getvalue())
    assert line["level"] == "error"
    assert line["exception"].endswith("postgresql://***@db the end")
    assert len(line["exception"]) <= MAX_TEXT + 10


def test_access_log_is_off_by_default(root_logger):
    """uvicorn's access log writes nothing unless asked for."""
    for access_log, lines in ((False, 0), (True, 1)):
        out = io.StringIO()
        configure_logging("order", stream=out, access_log=access_log)
        logging.getLogger("uvicorn.access").error("GET /")
        assert out.getvalue().count("\n") == lines
