"""A corpus of wheels: for each check, one that breaks only this check, and a valid one that nearly does."""
