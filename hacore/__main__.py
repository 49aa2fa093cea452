"""``python -m hacore``, which is also what torchrun starts: ``torchrun ... -m hacore run SPEC``."""

from hacore.cli import main

if __name__ == "__main__":
    main()
