"""`python -m manywheels`."""

import sys

from manywheels.cli import main

sys.exit(main())
