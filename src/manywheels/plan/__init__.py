"""From what was given to a frozen plan: it looks, and never acts."""
