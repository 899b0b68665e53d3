"""A corpus of wheels: for each check one that breaks just that, and one that comes close to it."""
