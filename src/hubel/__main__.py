"""`python -m hubel` is `hubel`; `torchrun … -m hubel train …` starts it on several devices."""

import sys

from hubel.cli import main

if __name__ == "__main__":
    sys.exit(main())
