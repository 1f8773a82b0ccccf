"""A pool that starts at zero: an HTTP gateway holds requests until model servers exist, and shares them fairly.

``python -m examples.demo`` runs it, with real processes and real HTTP on loopback. Read `gateway` first: it shows how
to embed flowgate. The rest is the world around it: `model_server` and `autoscaler` (the pool), `clients` (the traffic),
`ledger` and `checks` (the accounting), `live`, `lines` and `summary` (what you see).
"""
