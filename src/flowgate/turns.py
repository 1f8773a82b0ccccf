"""Which lane goes next, where several of one band could use the same slot."""

from flowgate.lanes import Group
from flowgate.pods import PodState

__all__ = ["take_turn"]


def take_turn(pod: PodState, rivals: list[Group], turn: int) -> Group:
    """Choose the group that was served least on this pod for each of its waiting flows, and count the turn.

    So lanes that share a pod divide it by their waiting flows, whatever they get elsewhere. A group that is new to the
    contest, or comes back, is lifted to the least level among those that kept waiting, and ties go to whoever waited
    longest since its last turn: nobody banks credit, and nobody is served twice as a newcomer. O(rivals).

    Args:
        pod: The pod with the slot.
        rivals: The groups of one band that wait for it; not empty.
        turn: A number that grows with each call.
    """
    _lift(pod, rivals, turn)
    winner = min(rivals, key=lambda group: group.served[pod][::2])
    level, activation, _ = winner.served[pod]
    winner.served[pod] = (level + 1.0 / len(winner.flows), activation, turn)
    return winner


def _lift(pod: PodState, rivals: list[Group], turn: int) -> None:
    standing = [(group, group.served.get(pod)) for group in rivals]
    levels = [entry[0] for group, entry in standing if entry and entry[1] == group.activation]
    floor = min(levels or [entry[0] for _, entry in standing if entry], default=0.0)
    for group, entry in standing:
        if entry is None or entry[1] != group.activation:
            level = floor if entry is None else max(entry[0], floor)
            group.served[pod] = (level, group.activation, turn)
