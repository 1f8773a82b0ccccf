"""A pool that starts at zero, behind a real Envoy: requests are held until there are model servers, and share them.

``python -m examples.demo`` runs it: Envoy, the Endpoint Picker and model servers, all of them real processes on
loopback. Read `story` first. The rest is the world around it: `settings` (what the Endpoint Picker is told), `clients`
(the traffic), `autoscaler` (the pool), `feed` and `decisions` (what the Endpoint Picker tells), `figures` and `checks`
(the accounting), `live`, `lines` and `summary` (what you see).
"""
