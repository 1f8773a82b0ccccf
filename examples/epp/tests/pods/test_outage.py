"""Pauses between attempts, and what the log says of failures."""

import logging

import pytest

from flowgate_epp.pods import Backoff, Outage, jittered

LOGGER = logging.getLogger("flowgate_epp.test")


@pytest.fixture
def outage(caplog):
    caplog.set_level("INFO")
    return Outage(LOGGER, "the source", "the pool stays")


def test_pauses_double_up_to_the_longest_and_begin_anew():
    """Each lies in the upper half of its bound."""
    backoff = Backoff(first=1.0, most=5.0)
    for bound in (1.0, 2.0, 4.0, 5.0, 5.0):
        assert bound / 2 <= backoff.pause() <= bound
    backoff.reset()
    assert 0.5 <= backoff.pause() <= 1.0


def test_pauses_spread():
    """Those who failed together do not come back together."""
    assert len({Backoff(1.0, 5.0).pause() for _ in range(50)}) > 40


def test_the_first_pause_is_no_longer_than_the_longest():
    """Also where the numbers are the wrong way round."""
    assert Backoff(first=10.0, most=1.0).pause() <= 1.0


def test_jitter_stays_within_its_share():
    """To either side."""
    times = [jittered(10.0, 0.2) for _ in range(500)]
    assert 8.0 <= min(times) < 8.5
    assert 11.5 < max(times) <= 12.0
    assert jittered(10.0, 0.0) == 10.0


def test_an_outage_is_logged_once_for_each_reason_and_at_its_end(outage, caplog):
    """However many attempts it takes."""
    for reason in ("no answer", "no answer", "refused", "no answer"):
        outage.fail(reason)
    outage.recover()
    outage.recover()
    assert [record.getMessage() for record in caplog.records] == [
        "the source: no answer; the pool stays",
        "the source: refused; the pool stays",
        "the source: well again, after 4 failures",
    ]
    assert outage.failures == 0
    outage.fail("no answer")
    assert len(caplog.records) == 4


def test_what_never_failed_is_not_logged(outage, caplog):
    """Good news is no news."""
    outage.recover()
    assert not caplog.records


def test_a_source_that_fails_now_and_then_has_one_outage(caplog):
    """It ends after as many good answers in a row as are asked for."""
    outage = Outage(LOGGER, "the source", "so what", calm=3)
    for is_good in (False, True, True, False, True, True, False):
        outage.recover() if is_good else outage.fail("no answer")
    assert len(caplog.records) == 1
    assert outage.failures == 3
    for _ in range(3):
        outage.recover()
    assert outage.failures == 0


def test_reasons_cannot_fill_the_log(outage, caplog):
    """Others write them: their number and their length are bounded."""
    for number in range(100):
        outage.fail(f"{number} " + "x" * 10_000)
    assert len(caplog.records) == 8
    assert max(len(record.getMessage()) for record in caplog.records) < 700
