import asyncio
import os
import threading
import warnings
from datetime import UTC

from skerry.clock import IDS_DRAWN, SYSTEM
from skerry.testing import VirtualClock


def test_uuid_is_version_7():
    """Ids are UUIDs of version 7, RFC variant, with the wall clock's milliseconds in front."""
    clock = VirtualClock(start=1_700_000_000.123)
    uuid = clock.uuid()
    assert (uuid.version, uuid.variant) == (7, "specified in RFC 4122")
    assert uuid.int >> 80 == 1_700_000_000_123


def test_an_id_as_text_is_the_text_of_an_id():
    """Two clocks with the same seed and time give the same id, one as text and one as itself."""
    assert [VirtualClock(seed=seed).uuid_text() for seed in range(50)] == [
        str(VirtualClock(seed=seed).uuid()) for seed in range(50)
    ]


def test_uuids_sort_by_time():
    """An id made a millisecond later sorts later."""
    clock = VirtualClock()
    made = []
    for _ in range(100):
        made.append(clock.uuid())
        clock.advance(0.001)
    assert made == sorted(made)


def test_uuids_are_unique_within_a_millisecond():
    """Ids made at the same instant differ."""
    clock = VirtualClock()
    assert len({clock.uuid() for _ in range(10_000)}) == 10_000


def test_hex_ids_are_of_one_length_and_differ():
    """Threads that draw more ids than are drawn from the system at once get 16 hex digits each, no two the same."""
    drawn: list[str] = []
    threads = [
        threading.Thread(target=lambda: drawn.extend([SYSTEM.hex_id() for _ in range(2 * IDS_DRAWN)])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(drawn)) == len(drawn) == 8 * IDS_DRAWN
    assert all(len(each) == 16 and int(each, 16) >= 0 for each in drawn)


def test_a_forked_process_has_hex_ids_of_its_own():
    """What its parent has drawn already is not given out in a child too."""
    SYSTEM.hex_id()
    out, into = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.write(into, SYSTEM.hex_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    told = os.read(out, 16).decode()
    os.close(out)
    os.close(into)
    assert len(told) == 16
    assert told not in [SYSTEM.hex_id() for _ in range(IDS_DRAWN)]


def test_utcnow_is_aware():
    """utcnow is now() with its time zone, UTC."""
    moment = VirtualClock(start=0.5).utcnow()
    assert (moment.tzinfo, moment.isoformat()) == (UTC, "1970-01-01T00:00:00.500000+00:00")


def test_system_clock_is_real():
    """The system clock moves forward, draws from [0, 1), and gives as many bytes as asked."""
    before = SYSTEM.monotonic()
    SYSTEM.sleep_sync(0)
    asyncio.run(SYSTEM.sleep(0))
    assert SYSTEM.monotonic() >= before
    assert 0 <= SYSTEM.random() < 1
    assert len(SYSTEM.random_bytes(5)) == 5
    assert SYSTEM.now() > 1_700_000_000


def test_system_wait_returns_the_state_of_the_event():
    """wait says whether the event is set, at once when it is."""
    event = threading.Event()
    assert SYSTEM.wait(event, 0) is False
    event.set()
    assert SYSTEM.wait(event, 60.0) is True
