"""``python -m promptstill``."""

import sys

from promptstill.cli import main

if __name__ == "__main__":
    sys.exit(main())
