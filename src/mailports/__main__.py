"""`python -m mailports`."""

import sys

from mailports.cli.main import main

sys.exit(main())
