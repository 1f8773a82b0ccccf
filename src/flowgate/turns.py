"""Which lane goes next, where several of one band could use the same slot."""

from flowgate.lanes import Group
from flowgate.pods import PodState

__all__ = ["count_turn", "take_turn"]


def take_turn(pod: PodState, rivals: list[Group], turn: int) -> Group:
    """Choose the group that was served least on this pod for each of its waiting flows.

    So lanes that share a pod divide it by their waiting flows, whatever they get elsewhere. A group that is new to the
    contest, or comes back, is lifted to the least level among those that kept waiting, and ties go to whoever waited
    longest since its last turn: nobody banks credit, and nobody is served twice as a newcomer. O(rivals).

    Args:
        pod: The pod with the slot.
        rivals: The groups of one band that wait for it; not empty.
        turn: A number that grows with each call.
    """
    _lift(pod, rivals, turn)
    return min(rivals, key=lambda group: group.served[pod][::2])


def count_turn(pod: PodState, winner: Group, turn: int) -> None:
    """Note that a group which was chosen got the slot; one that is chosen and then may not have it has had no turn."""
    level, activation, _ = winner.served[pod]
    winner.served[pod] = (level + 1.0 / len(winner.flows), activation, turn)


def _lift(pod: PodState, rivals: list[Group], turn: int) -> None:
    standing = [(group, group.served.get(pod)) for group in rivals]
    levels = [entry[0] for group, entry in standing if entry and entry[1] == group.activation]
    known = [entry[0] for _, entry in standing if entry]
    # Where nobody kept waiting, no more than the last turn is remembered.
    floor = min(levels) if levels else max(known, default=1.0) - 1.0
    for group, entry in standing:
        if entry is None or entry[1] != group.activation:
            level = floor if entry is None else max(entry[0], floor)
            group.served[pod] = (level, group.activation, turn)
