from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent


class Scribble(build_ext):
    def run(self):
        (HERE / "delete_me.txt").unlink()
        (HERE / "scribble.txt").write_text("The build was here.\n")
        with (HERE / "scribbles" / "_core.c").open("a") as source:
            source.write("/* The build was here. */\n")
        super().run()


setup(ext_modules=[Extension("scribbles._core", ["scribbles/_core.c"])], cmdclass={"build_ext": Scribble})
