"""Publishing: finished wheels go to an index, and whatever happens it is known where each of them stands."""
