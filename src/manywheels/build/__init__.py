"""The plan executed, targets side by side."""
