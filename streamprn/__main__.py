"""`python -m streamprn` is the program `streamprn`."""

from __future__ import annotations

import sys

from streamprn.cli import main

if __name__ == "__main__":
    sys.exit(main())
