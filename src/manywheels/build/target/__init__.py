"""One target: from the source to the delivered wheel."""
