"""Build what is not built yet, and print its folder: `python -m examples.stage.kubernetes.binaries`."""

import sys

from examples.stage.kubernetes.binaries import BuildError, build

try:
    print(build())
except BuildError as error:
    sys.exit(f"{error}")
