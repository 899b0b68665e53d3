"""From inputs to a frozen plan, read-only: nothing is written, and no project code runs."""
