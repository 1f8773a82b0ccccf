"""Who leads: the holder of a Lease, for as long as it can be sure that nobody else does.

No clock but our own is believed, and of that only how much time has passed. A leader counts from the moment at which it
*began* to write, those who stand by from the moment at which they *saw* what was written, which is later: so a leader
whose renewals fail gives up (`renew_deadline`) before anybody else takes over (`duration`), however wrong the clocks on
the wall are. Each write is conditional on what was read. A lease that is changed by hand, or deleted, may have been
under a leader's feet: whoever stands by waits as long as for any other change, while the leader writes it anew.
"""

import asyncio
import logging
import math
import random
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from flowgate_epp.kubernetes import ApiClient, ApiError, Object, Reflector
from flowgate_epp.leadership._record import Record, claim, placeholder
from flowgate_epp.leadership._settings import LeaseSettings
from flowgate_epp.pods import Outage, jittered

__all__ = ["Election", "LeadershipLost"]

_logger = logging.getLogger("flowgate_epp.leadership")

_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"
_NEVER: Final = -math.inf
_AT_ONCE: Final = 0.05
"""Of a retry interval: the pause before another look, after somebody else was faster."""
_UNSEEN: Final = Record(None)
_RESIGNATIONS: Final = 3
"""Attempts to give a lease back before it is left to run out."""


class LeadershipLost(Exception):  # noqa: N818 - it is no mistake of anybody's
    """Raised when a leader can no longer be sure that it leads: what it holds is to end now."""


class Election:
    """One candidate's part in the choice of a leader, for one event loop; each leads once at most.

    Args:
        settings: The Lease, and the times.
        client: How the API server is reached.
        clock: Seconds on a clock that never goes back; None takes the event loop's.

    Attributes:
        identity: Who we are, in the Lease.
    """

    def __init__(self, settings: LeaseSettings, client: ApiClient, *, clock: Callable[[], float] | None = None) -> None:
        self.identity: str = f"{settings.identity or socket.gethostname()}_{''.join(random.choices(_LETTERS, k=8))}"
        self._settings = settings
        self._client = client
        self._clock = asyncio.get_running_loop().time if clock is None else clock
        self._seen = _UNSEEN
        self._free_at = math.inf
        self._is_stale = True
        self._leads_until = _NEVER
        self._why_lost: str | None = None
        self._may_hold = self._is_resigning = False
        self._led = asyncio.Event()
        self._news = asyncio.Event()
        self._attempt = asyncio.Lock()
        self._patience: asyncio.Timeout | None = None
        where = f"the lease {settings.name!r}"
        self._outage = Outage(_logger, f"{where} cannot be had", "nobody can be sure to lead for long")

    @property
    def is_leader(self) -> bool:
        """Whether we lead at this moment; looks at the clock, so a process that was stalled is not fooled."""
        return self._clock() < self._leads_until and self._why_lost is None

    @property
    def is_lost(self) -> bool:
        """Whether we led, and can no longer be sure of it; resigning is no loss."""
        return self._why_lost is not None or self._has_run_out

    @property
    def holder(self) -> str | None:
        """Who holds the lease, as far as we know; None when nobody does."""
        return self._seen.holder or None

    async def leading(self) -> None:
        """Wait until we lead."""
        await self._led.wait()

    async def run(self) -> None:
        """Stand by, take the lease once nobody holds it, and renew it from then on; returns only after `resign`.

        An API server that cannot be reached is told of in the log, once for each reason, and asked again.

        Raises:
            LeadershipLost: We led, and do no longer; in time before anybody else does.
        """
        async with self._watching():
            while not (self._led.is_set() or self._is_resigning):
                await self._pause_after(await self._try())
        while not self._is_resigning:
            self._check()
            await self._pause_after(await self._try())

    async def resign(self) -> None:
        """Give the lease back, so that the next takes over at once, and take no part any more.

        We lead no longer from the first moment on. Does not fail: a lease that cannot be given back runs out by itself.
        """
        self._is_resigning = True
        self._leads_until = _NEVER
        self._news.set()
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(0.0)
        async with self._attempt:
            if self._may_hold:
                await self._give_back()

    # -- one attempt

    async def _try(self) -> bool:
        """Look or write, whichever is due; return whether another look is due at once."""
        async with self._attempt:
            if self._is_resigning:
                return False
            try:
                async with asyncio.timeout(self._longest_attempt()) as self._patience:
                    is_settled = await self._look_and_write()
            except ApiError as error:
                self._is_stale = True
                self._outage.fail(self._explain(error))
                return False
            except TimeoutError:
                self._is_stale = True
                if not self._is_resigning:
                    self._outage.fail("no answer in time")
                return False
            finally:
                self._patience = None
            self._outage.recover()
            return not is_settled

    async def _look_and_write(self) -> bool:
        if self._is_stale or not self._led.is_set():
            self._see(await self._read())
        record = self._seen
        if not self._may_write(record):
            return True
        began, leads = self._clock(), self._led.is_set()
        try:
            written = Record(await self._write(record))
        except ApiError as error:
            # Where there was none to replace, it is the namespace that is not there.
            is_gone = error.reason == "NotFound" and record.lease is not None
            if not is_gone and error.reason not in {"Conflict", "AlreadyExists"}:
                raise
            self._is_stale = True  # somebody was faster, or it is gone: what is there now?
            return False
        if record.lease is None and not leads:
            self._see(written)
        else:
            self._written(written, began)
        return True

    async def _read(self) -> Record:
        try:
            return Record(await self._client.get(self._path))
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            return Record(None)

    async def _write(self, record: Record) -> Object:
        settings = self._settings
        if record.lease is not None:
            self._may_hold = True
            return await self._client.replace(self._path, record.held_by(self.identity, settings.duration))
        if self._led.is_set():
            return await self._client.create(self._folder, claim(settings.name, self.identity, settings.duration))
        # Not a claim of ours: that there is none now does not say that there was none a moment ago. But nobody has
        # written what we find unchanged later.
        return await self._client.create(self._folder, placeholder(settings.name, settings.duration))

    def _see(self, record: Record) -> None:
        before, self._seen, self._is_stale = self._seen, record, False
        is_first = before is _UNSEEN
        if not is_first and record.says_the_same_as(before):
            return
        is_free = record.is_given_back or (is_first and record.is_unused)
        # Also where nobody is in it: it may have been emptied, or deleted and made anew, while somebody leads.
        self._free_at = self._clock() + (0.0 if is_free else record.duration(self._settings.duration))
        if is_first or before.holder != record.holder:
            told = {None: "nobody, for all we know", "": "nobody", self.identity: "us"}
            _logger.info("the lease %r is held by %s", self._settings.name, told.get(record.holder, record.holder))

    def _may_write(self, record: Record) -> bool:
        if record.lease is None or record.holder == self.identity:
            return True  # ours, though we may not have heard that we got it
        if not self._led.is_set():
            return self._clock() >= self._free_at
        if record.holder:
            self._lose(f"it is held by {record.holder} now")
        return True

    def _written(self, record: Record, began: float) -> None:
        self._check()
        self._seen = record
        if self._is_resigning:
            return
        self._leads_until = began + self._settings.renew_deadline
        if not self._led.is_set():
            self._led.set()
            _logger.info("we lead, as %s", self.identity)

    # -- what time it is

    @property
    def _has_run_out(self) -> bool:
        return self._led.is_set() and not self._is_resigning and self._clock() >= self._leads_until

    def _check(self) -> None:
        if self._has_run_out:
            self._lose(f"it was not renewed for {self._settings.renew_deadline:g} s")

    def _lose(self, why: str) -> None:
        self._why_lost = why
        self._leads_until = _NEVER
        raise LeadershipLost(f"the lease {self._settings.name!r} is lost: {why}")

    def _longest_attempt(self) -> float:
        longest = self._settings.renew_deadline / 2  # so that there is time for another
        return min(longest, self._leads_until - self._clock()) if self._led.is_set() else longest

    async def _pause_after(self, is_urgent: bool) -> None:
        pause = jittered(self._settings.retry_interval) * (_AT_ONCE if is_urgent else 1.0)
        if self._led.is_set():
            pause = min(pause, self._leads_until - self._clock())
        elif (left := self._free_at - self._clock()) > 0:
            pause = min(pause, left)
        try:
            async with asyncio.timeout(pause):
                await self._news.wait()
        except TimeoutError:
            return
        if not self._is_resigning:
            self._news.clear()

    # -- being told at once that it is free: no more than a hint to look

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[None]:
        what = f"the lease {self._settings.name!r} (watched, to take over at once)"
        selector = f"metadata.name={self._settings.name}"
        reflector = Reflector(self._client, self._folder, self, field_selector=selector, what=what)
        watching = asyncio.create_task(reflector.run(), name="lease")
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    def update(self, changed: Sequence[Object], removed: Sequence[Object]) -> None:  # noqa: ARG002 - a `Follower`
        """Hear of the Lease from the watch; as a `Follower`."""
        if any(Record(lease).is_given_back for lease in changed):
            self._news.set()

    # -- the end

    async def _give_back(self) -> None:
        name, error = self._settings.name, "no answer in time"
        try:
            async with asyncio.timeout(self._settings.renew_deadline / 2):
                for _ in range(_RESIGNATIONS):
                    try:
                        await self._write_resignation()
                    except ApiError as failure:
                        self._is_stale, error = True, str(failure)
                        await asyncio.sleep(_AT_ONCE * self._settings.retry_interval)
                    else:
                        self._may_hold = False
                        _logger.info("we lead no longer: the lease %r is given back", name)
                        return
        except TimeoutError:
            pass
        _logger.warning("the lease %r is not given back, and runs out by itself: %s", name, error)

    async def _write_resignation(self) -> None:
        record = Record(await self._client.get(self._path))
        if record.holder == self.identity:
            self._seen = Record(await self._client.replace(self._path, record.given_back()))

    @property
    def _namespace(self) -> str:
        return self._settings.namespace or self._client.namespace

    @property
    def _folder(self) -> str:
        return f"/apis/coordination.k8s.io/v1/namespaces/{self._namespace}/leases"

    @property
    def _path(self) -> str:
        return f"{self._folder}/{self._settings.name}"

    def _explain(self, error: ApiError) -> str:
        if error.reason != "Forbidden":
            return str(error)
        needed = "get, create, update, list and watch on leases of coordination.k8s.io"
        return f"{error.message}: allow {needed} in namespace {self._namespace!r}"
