"""`python -m minitf`: the command `minitf` where it is not on the PATH."""

import sys

from minitf.commands import main

if __name__ == "__main__":
    sys.exit(main())
