from bundled.core import total

__all__ = ["total"]
