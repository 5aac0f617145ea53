"""`python -m skilltokens` is the command `skilltokens`."""

import sys

from skilltokens.cli import main

if __name__ == "__main__":
    sys.exit(main())
