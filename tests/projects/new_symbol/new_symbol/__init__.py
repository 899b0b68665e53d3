from new_symbol._core import close_from

__all__ = ["close_from"]
