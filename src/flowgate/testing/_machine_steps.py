"""What happens to an engine on trial: steps at random, alike for Hypothesis and for a seeded generator."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from flowgate.testing._machine_scenes import Chance, Parts, Scene, draw_config, draw_scene
from flowgate.testing._model_parts import MovableRequest, Subset
from flowgate.ticket import Ticket

__all__ = ["Trial"]

_PODS: Final = "abc"
_FLOWS: Final = "xyz"
_PRIORITIES: Final = (0, 0, 1, -1, 2)
_SUBSETS: Final[Sequence[Subset]] = (None, frozenset("a"), frozenset("ab"), frozenset("bc"), frozenset())
_MANY: Final = 14
_BESIEGERS: Final = 3
_CLOSES: Final = 15  # one of so many attempts

# How often each step comes, by the kind of the scene.
_STEPS: Final[Mapping[str, Mapping[str, int]]] = {
    "contest": {
        "submit": 2,
        "crowd": 3,
        "siege": 2,
        "race": 3,
        "serve": 3,
        "release": 1,
        "settle_cost": 2,
        "cancel": 1,
        "refresh": 1,
        "assign": 1,
        "pass_time": 1,
        "change_load": 1,
        "change_pods": 1,
    },
    "flood": {
        "submit": 3,
        "flood": 4,
        "serve": 1,
        "release": 2,
        "settle_cost": 1,
        "cancel": 1,
        "refresh": 1,
        "pass_time": 1,
    },
    "anything": {
        "submit": 3,
        "submit_many": 3,
        "crowd": 1,
        "flood": 1,
        "serve": 1,
        "cancel": 2,
        "release": 2,
        "lose": 1,
        "assign": 2,
        "settle_cost": 1,
        "run_passes": 2,
        "pass_time": 3,
        "change_pods": 3,
        "change_load": 2,
        "report": 1,
        "change_locator": 1,
        "change_detector": 1,
        "change_mood": 1,
        "refresh": 2,
        "reconfigure": 1,
        "close": 1,
    },
}
_NEED_WAITING: Final = frozenset({"cancel", "refresh"})
_NEED_TICKETS: Final = frozenset({"serve", "release", "lose", "assign", "settle_cost"})
_ADD_MANY: Final = frozenset({"crowd", "flood", "race", "siege"})


class Trial:
    """One engine, and one step after another.

    Args:
        chance: Decides where it begins.
        parts: What is on trial.
        tell: Called with each step, in words, before it is done.
    """

    def __init__(self, chance: Chance, parts: Parts, tell: Callable[[str], None]) -> None:
        self.scene: Scene = draw_scene(chance, parts)
        self._engine = self.scene.engine
        self._tell = tell
        self._is_sound = True
        one_subset: Sequence[Subset] = (None,)
        self._subsets = _SUBSETS if self.scene.kind == "anything" else chance.choice([one_subset, _SUBSETS[:3]])
        tell(f"{self.scene.kind}: {self._engine.model.config}")

    def step(self, chance: Chance) -> None:
        """Do one of those steps that can be done now."""
        weights = _STEPS[self.scene.kind]
        name = chance.choice([name for name, weight in weights.items() for _ in range(weight) if self._can(name)])
        steps: dict[str, Callable[[Chance], None]] = {
            "assign": self._assign,
            "cancel": self._cancel,
            "change_detector": self._change_detector,
            "change_load": self._change_load,
            "change_locator": self._change_locator,
            "change_mood": self._change_mood,
            "change_pods": self._change_pods,
            "close": self._close,
            "crowd": self._crowd,
            "flood": self._flood,
            "lose": self._lose,
            "pass_time": self._pass_time,
            "race": self._race,
            "reconfigure": self._reconfigure,
            "refresh": self._refresh,
            "release": self._release,
            "report": self._report,
            "run_passes": self._run_passes,
            "serve": self._serve,
            "settle_cost": self._settle_cost,
            "siege": self._siege,
            "submit": self._submit,
            "submit_many": self._submit_many,
        }
        self._is_sound = False
        steps[name](chance)
        self._is_sound = True

    def finish(self) -> None:
        """Let everything end well, unless a step has failed: nobody waits, and nothing is held."""
        self.scene.mood.is_bad = False
        try:
            if self._is_sound:
                self._engine.finish()
        finally:
            self._engine.abandon()

    def _can(self, name: str) -> bool:
        engine = self._engine
        if name in _NEED_WAITING:
            return bool(engine.waiting)
        if name in _NEED_TICKETS:
            return bool(engine.tickets)
        if name in _ADD_MANY:
            return len(engine.waiting) < _MANY
        # Where each flow is a lane of its own, a mood may change between the choice of its head and its turn.
        return name != "change_mood" or engine.model.is_keyed

    # -- requests come

    def _submit(self, chance: Chance) -> None:
        self._send(self._draw_request(chance))

    def _submit_many(self, chance: Chance) -> None:
        drawn = self._draw_request(chance)
        for _ in range(chance.choice(range(2, 7))):
            self._send(MovableRequest(drawn.flow_id, drawn.priority, drawn.size, drawn.ttl, drawn.subset))

    def _crowd(self, chance: Chance) -> None:
        """Several flows of one band want the same pods."""
        drawn = self._draw_request(chance)
        for _ in range(chance.choice(range(2, 8))):
            self._send(self._alike(chance, drawn))

    def _flood(self, chance: Chance) -> None:
        """One flow sends much, and others then send little."""
        drawn = self._draw_request(chance)
        for _ in range(chance.choice(range(3, 8))):
            self._send(MovableRequest("x", drawn.priority, chance.choice([15, 1, 10]), drawn.ttl, drawn.subset))
        for _ in range(chance.choice(range(1, 4))):
            self._send(MovableRequest(chance.choice("yz"), drawn.priority, chance.choice([15, 1, 10]), None, None))

    def _siege(self, chance: Chance) -> None:
        """Two bands want the same pods, over and over."""
        drawn = self._draw_request(chance)
        other = chance.choice([priority for priority in (0, 1, -1, 2) if priority != drawn.priority])
        for _ in range(chance.choice([6, 12])):
            for priority in (drawn.priority, other, other, drawn.priority):
                if sum(request.priority == priority for request in self._engine.waiting) < _BESIEGERS:
                    self._send(self._alike(chance, MovableRequest("x", priority, subset=drawn.subset)))
                    self._engine.settle()
            self._serve_one()

    def _race(self, chance: Chance) -> None:
        """Two flows of one band want the same pods, over and over; what they cost turns out otherwise."""
        drawn, priority = self._draw_request(chance), chance.choice([2, 0])
        flows = chance.choice(["xy", "yz", "xz"])
        sizes = dict(zip(flows, chance.choice([(7, 7), (1, 15), (15, 1)]), strict=True))
        for _ in range(chance.choice([8, 16])):
            for flow in flows * 2:
                mine = [
                    request
                    for request in self._engine.waiting
                    if (request.flow_id, request.priority) == (flow, priority)
                ]
                if len(mine) < _BESIEGERS:
                    self._send(MovableRequest(flow, priority, sizes[flow], None, drawn.subset))
            self._engine.settle()
            if chance.choice([False, False, False, True]) and self._engine.tickets:
                self._settle_cost(chance)
            self._serve_one()

    def _draw_request(self, chance: Chance) -> MovableRequest:
        return MovableRequest(
            chance.choice(_FLOWS),
            chance.choice(_PRIORITIES),
            chance.choice([0, 1, 15, 50]),
            chance.choice([None, None, 0.5, 3.0]),
            chance.choice(self._subsets),
        )

    def _alike(self, chance: Chance, like: MovableRequest) -> MovableRequest:
        return MovableRequest(chance.choice(_FLOWS), like.priority, chance.choice([1, 0, 7, 15]), None, like.subset)

    def _send(self, request: MovableRequest) -> None:
        self._tell(f"submit {request}")
        self._engine.submit(request)

    # -- requests go

    def _cancel(self, chance: Chance) -> None:
        request = chance.choice(list(self._engine.waiting))
        self._tell(f"cancel {request}")
        self._engine.cancel(request)

    def _serve(self, chance: Chance) -> None:
        for _ in range(chance.choice(range(2, 10))):
            self._serve_one()

    def _serve_one(self) -> None:
        self._tell("release the oldest ticket, and dispatch")
        self._engine.serve()

    def _release(self, chance: Chance) -> None:
        ticket = self._draw_ticket(chance)
        self._tell(f"release {ticket}")
        self._engine.release(ticket)

    def _lose(self, chance: Chance) -> None:
        ticket = self._draw_ticket(chance)
        self._tell(f"lose {ticket}")
        self._engine.lose(ticket)

    def _assign(self, chance: Chance) -> None:
        ticket, name = self._draw_ticket(chance), chance.choice("abcz")
        self._tell(f"assign {ticket} to {name}")
        self._engine.assign(ticket, name)

    def _settle_cost(self, chance: Chance) -> None:
        ticket, cost = self._draw_ticket(chance), chance.choice([1, 0, 5, 40])
        self._tell(f"settle {ticket} at {cost}")
        self._engine.settle_cost(ticket, cost)

    def _draw_ticket(self, chance: Chance) -> Ticket:
        return chance.choice(list(self._engine.tickets))

    # -- the world changes

    def _run_passes(self, chance: Chance) -> None:  # noqa: ARG002 - as all steps
        self._tell("dispatch")
        self._engine.settle()

    def _pass_time(self, chance: Chance) -> None:
        seconds, late = chance.choice([0.25, 0.5, 1.0, 2.0, 7.0]), chance.choice([False, True])
        self._tell(f"let {seconds} s pass{', the timer late' if late else ''}")
        self._engine.sleep(seconds, late=late)

    def _change_pods(self, chance: Chance) -> None:
        names = chance.choice(["ab", "", "a", "b", "c", "abc", "bc"])
        self._tell(f"pods: {names or 'none'}")
        self._engine.set_pods(names)

    def _change_load(self, chance: Chance) -> None:
        name, extra = chance.choice(_PODS), chance.choice([0.0, 0.0, 0.4, 1.0])
        self._tell(f"{name} is fuller by {extra}")
        self._engine.set_extra(name, extra)

    def _report(self, chance: Chance) -> None:
        name, waiting, usage = chance.choice(_PODS), chance.choice([0, 1, 5]), chance.choice([0.0, 0.5, 0.9])
        self._tell(f"{name} has {waiting} waiting and {usage} of its cache in use")
        self._engine.report(name, waiting, usage)

    def _change_locator(self, chance: Chance) -> None:
        fails = chance.choice([False, True])
        self._tell(f"the locator {'fails' if fails else 'recovers'}")
        self._engine.fail_locator(fails)

    def _change_detector(self, chance: Chance) -> None:
        name, fails = chance.choice(_PODS), chance.choice([False, True])
        self._tell(f"the detector {'fails' if fails else 'recovers'} for {name}")
        self._engine.fail_detector(name, fails)

    def _change_mood(self, chance: Chance) -> None:
        self.scene.mood.is_bad = chance.choice([False, True])
        self._tell(f"policies {'fail' if self.scene.mood.is_bad else 'recover'}")
        self._engine.may_fail |= {"dispatch policy", "fairness policy"}

    def _refresh(self, chance: Chance) -> None:
        request, subset = chance.choice(list(self._engine.waiting)), chance.choice(self._subsets)
        self._tell(f"refresh {request}: now {subset}")
        self._engine.refresh(request, subset)

    def _reconfigure(self, chance: Chance) -> None:
        config = draw_config(chance, self.scene.kind, self.scene.parts, self.scene.mood)
        self._tell(f"reconfigure: {config}")
        self._engine.reconfigure(config)

    def _close(self, chance: Chance) -> None:
        if chance.choice(range(_CLOSES)) == _CLOSES - 1:
            self._tell("close")
            self._engine.close()
