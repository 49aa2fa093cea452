"""``python -m hacore``, which is also what torchrun starts: ``torchrun ... -m hacore run SPEC``."""

import os
import sys

# Python has put the working folder first, where a random.py of the user's would take the place of its own.
if not sys.flags.safe_path and sys.path[0] in ("", os.getcwd()):
    del sys.path[0]

from hacore.cli import main

if __name__ == "__main__":
    main()
