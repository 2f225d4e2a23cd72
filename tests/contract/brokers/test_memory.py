import pytest

from skerry.events.brokers.memory import Memory, MemoryBroker
from skerry.testing.brokers import Stage, cases


@pytest.mark.parametrize("case", cases(MemoryBroker.features, server=False, foreign=False), ids=str)
def test_memory(case):
    """The log in memory passes the suite; nothing can be killed, and nobody else can write."""
    memory = Memory()
    case.run(Stage(lambda source: MemoryBroker(memory, source=source)))
