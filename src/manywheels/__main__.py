"""`python -m manywheels`."""

import sys

from manywheels.cli.main import main

sys.exit(main())
