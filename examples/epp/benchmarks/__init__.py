"""What flow control costs behind a real Envoy: ``python -m examples.epp.benchmarks``."""
