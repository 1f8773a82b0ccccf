"""Print the documentation's table of metrics: ``python -m flowgate_epp.telemetry``."""

import sys

from flowgate_epp.telemetry import markdown_table

__all__: list[str] = []

if __name__ == "__main__":  # pragma: no branch
    sys.stdout.write(markdown_table())
