import pytest

from dropzone.commands.output import length
from dropzone.commands.render_top import sparkline


@pytest.mark.parametrize(
    ("counts", "bars"),
    [
        ([], ""),
        ([0, 0], "  "),
        ([0, 1, 1000], " ▁█"),
        ([1, 2, 3, 4, 5, 6, 7, 8], "▁▂▃▄▅▆▇█"),
        ([3], "█"),
    ],
)
def test_a_bar_for_each_count(counts, bars):
    assert sparkline(counts) == bars


def test_bars_in_ascii():
    assert sparkline([0, 1, 8], plain=True) == " .@"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.0421, "42 ms"), (1.25, "1.2 s"), (125, "2 min 5 s")],
)
def test_short_times(seconds, text):
    assert length(seconds) == text
