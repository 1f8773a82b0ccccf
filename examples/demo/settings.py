"""What the demo is made of: its bands, its pods and its pace, and what the Endpoint Picker is told."""

from collections.abc import Mapping
from typing import Any

__all__ = ["BANDS", "BATCH", "EPP", "INTERACTIVE", "MODEL", "PRIORITIES", "SLOTS", "STANDARD", "TENANTS"]

INTERACTIVE, STANDARD, BATCH = 10, 0, -10
BANDS = {INTERACTIVE: "interactive", STANDARD: "standard", BATCH: "batch"}
PRIORITIES = {name: priority for priority, name in BANDS.items()}
TENANTS = ("acme", "globex", "initech")
MODEL = "fake-model"

SLOTS = 4
"""Requests that one pod serves at the same time."""

LOAD_SECONDS = 1.5
"""How long a model server loads its model before its port opens."""

FIRST_TOKEN, NEXT_TOKEN = 0.05, 0.01
"""Seconds that a model server takes."""

TOKENS = (10, 30)
"""Least and most tokens that a client asks for."""

MAX_PODS = 3
REQUESTS_PER_POD = 15
"""Demand that justifies one more pod."""

SCALE_UP_PAUSE = 1.5
"""Seconds between two starts."""

IDLE_SECONDS = 0.8
"""Idle time after which a pod stops."""

SCALE_DOWN_PAUSE = 0.5
"""Seconds between two stops."""

TIME_LIMIT = 60.0
"""Seconds after which a story that hangs is given up."""

LONGEST_HOLD = 30.0
"""Seconds for which a request may be held that does not say."""

EPP: Mapping[str, Any] = {
    "flow_control": {
        "bands": [{"priority": priority, "name": name} for priority, name in BANDS.items()],
        "default_band": "none",
        "default_ttl": LONGEST_HOLD,
        "detector": {"name": "concurrency", "max_concurrency": SLOTS},
    },
    # Clients name an objective, and never write the number.
    "objectives": {"priorities": PRIORITIES},
    "server": {"drain_timeout": 1.0},
    # The page, and our display, get ten pictures a second.
    "admin": {"interval": 0.1},
    # A line for each decision: the demo's books are made of them.
    "telemetry": {"log": {"requests": "all"}, "metrics": {"flows": list(TENANTS), "pool": "demo"}},
}
"""The Endpoint Picker's file: three bands and no others; within each, tenants take turns, which is the default."""
