import os
from pathlib import Path

import tested


def test_answer():
    assert tested.answer() == int(os.environ.get("ANSWER", "42"))


def test_it_is_the_wheel_that_is_tested():
    assert "site-packages" in Path(tested.__file__).parts
