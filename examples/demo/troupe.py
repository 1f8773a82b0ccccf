"""Who is on stage from the beginning: the Endpoint Picker, and Envoy in front of it."""

import asyncio

import attrs

from examples.demo.settings import EPP, LONGEST_HOLD
from examples.demo.watching import must_live
from examples.stage import Envoy, Epp, Stage
from flowgate_epp.envoy_config import EnvoySettings

__all__ = ["Troupe"]


@attrs.frozen
class Troupe:
    """The processes that live as long as the demo.

    Attributes:
        envoy: Where clients go.
        epp: Where Envoy asks.
    """

    envoy: Envoy
    epp: Epp

    @classmethod
    async def enter(cls, stage: Stage) -> "Troupe":
        """Start both, and wait until they are ready.

        Raises:
            StartError: One of them has ended before that.
        """
        epp = await stage.start_epp(EPP)
        settings = EnvoySettings(
            listen_port=stage.port(),
            admin_port=stage.port(),
            epp_host="127.0.0.1",
            epp_port=epp.port,
            body_mode="buffered",
            longest_hold=2 * LONGEST_HOLD,
        )
        return cls(await stage.start_envoy(settings), epp)

    async def must_live(self) -> None:
        """Watch both until cancelled.

        Raises:
            EarlyEnd: One of them has ended.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(must_live(self.envoy.process))
            tasks.create_task(must_live(self.epp.process))
