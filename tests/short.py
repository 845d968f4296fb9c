"""Whether `make test-slow SHORT=1` runs: long tests then take their shorter form."""

import os

SHORT = bool(os.environ.get("DARNET_TEST_SHORT"))
