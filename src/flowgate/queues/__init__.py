"""Orders of waiting work: by arrival, or by a dispatch policy's key."""

from flowgate.queues._keys import LAST, take_key
from flowgate.queues._list import ListQueue
from flowgate.queues._priority import PriorityQueue

__all__ = ["LAST", "ListQueue", "PriorityQueue", "take_key"]
