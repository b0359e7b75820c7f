"""`python -m bellande_mesh_sync` is `bms`."""

import sys

from bellande_mesh_sync.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
