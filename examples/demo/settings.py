"""What the demo is made of: its bands, its pods and its pace."""

from flowgate import FlowControlConfig, PriorityBandConfig

INTERACTIVE, STANDARD, BATCH = 10, 0, -10
BANDS = {INTERACTIVE: "interactive", STANDARD: "standard", BATCH: "batch"}
TENANTS = ("acme", "globex", "initech")

SLOTS = 4
"""Requests that one pod serves at the same time."""

LOAD_SECONDS = 2.0
"""How long a model server loads its model before it is ready."""

SERVICE_SECONDS = (0.15, 0.35)
"""Shortest and longest time that a model server takes for one request."""

MAX_PODS = 3
REQUESTS_PER_POD = 15
"""Demand that justifies one more pod."""

SCALE_UP_PAUSE = 2.0
"""Seconds between two starts."""

IDLE_SECONDS = 1.5
"""Idle time after which a pod stops."""

SCALE_DOWN_PAUSE = 0.7
"""Seconds between two stops."""

TIME_LIMIT = 60.0
"""Seconds after which a run that hangs is given up."""

FLOW_CONTROL = FlowControlConfig(
    bands=[PriorityBandConfig(priority, name=name) for priority, name in BANDS.items()],
    default_band=None,
    default_ttl=30.0,
)
"""Three bands and no others; within each, tenants take turns, which is the default."""
