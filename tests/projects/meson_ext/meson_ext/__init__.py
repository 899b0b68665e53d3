from meson_ext._core import answer

__all__ = ["answer"]
