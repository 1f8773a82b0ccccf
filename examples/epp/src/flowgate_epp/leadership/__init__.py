"""One Endpoint Picker of several leads: who holds the Lease; the others stand by."""

from flowgate_epp.leadership._election import Election, LeadershipLost
from flowgate_epp.leadership._leader_only import LeaderOnly
from flowgate_epp.leadership._settings import LeaseSettings

__all__ = ["Election", "LeaderOnly", "LeadershipLost", "LeaseSettings"]
