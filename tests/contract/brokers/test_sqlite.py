import pytest

from skerry.events.brokers.eventlog import EventLog
from skerry.testing.brokers import Stage, cases


@pytest.mark.parametrize("case", cases(EventLog.features, server=False, foreign=False), ids=str)
def test_sqlite(case, tmp_path):
    """The embedded event log passes the suite; it has no server to kill."""
    case.run(Stage(lambda source: EventLog(tmp_path / "events", source=source)))
