"""Charts as SVG: numbers only, so that style sheets colour them for dark and light."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

_WIDTH, _HEIGHT, _TOP = 600, 120, 8
_LEAST_HEIGHT = 2.0
_GAP = 0.25


def bars(
    wholes: Sequence[int],
    parts: Sequence[int],
    times: Sequence[float],
    labels: Sequence[str],
    about: str,
) -> Markup:
    """Return bars, oldest first: of each ``whole``, ``part`` stands out in red.

    Each bar's time, in epoch seconds, and its label are shown where the pointer rests;
    ``about`` is read to the blind.
    """
    most = max([*wholes, 1])
    step = _WIDTH / len(wholes)
    made = Markup()
    for number, (whole, part, at, label) in enumerate(
        zip(wholes, parts, times, labels, strict=True)
    ):
        left = number * step
        exact = datetime.fromtimestamp(at, UTC)
        made += Markup(
            '<g data-at="{:%Y-%m-%dT%H:%M:%SZ}" data-label="{}">'
            '<rect class="hover" x="{:.1f}" y="0" width="{:.1f}" height="{}"/>'
        ).format(exact, label, left, step, _HEIGHT)
        made += _bar("bar", left, step, _height(whole, most))
        made += _bar("bar bad", left, step, _height(part, most))
        shown = f"{exact:%H:%M} UTC: {label}"
        made += Markup("<title>{}</title></g>").format(shown)
    return _framed(made, about)


def line(values: Sequence[float], about: str) -> Markup:
    """Return a small line without axes, oldest first."""
    most = max([*values, 1e-9])
    step = _WIDTH / max(len(values) - 1, 1)
    points = " ".join(
        f"{number * step:.1f},{_HEIGHT - value / most * (_HEIGHT - _TOP):.1f}"
        for number, value in enumerate(values)
    )
    return _framed(Markup('<polyline class="line" points="{}"/>').format(points), about)


def share(part: float, whole: float, about: str) -> Markup:
    """Return a bar that is filled to a share."""
    filled = _WIDTH * min(part / whole, 1.0) if whole > 0 else 0.0
    return Markup(
        '<svg class="share" viewBox="0 0 {} 8" preserveAspectRatio="none" role="img">'
        '<title>{}</title><rect class="track" width="{}" height="8"/>'
        '<rect class="filled" width="{:.1f}" height="8"/></svg>'
    ).format(_WIDTH, about, _WIDTH, filled)


def _height(value: int, most: int) -> float:
    return max(value / most * (_HEIGHT - _TOP), _LEAST_HEIGHT) if value else 0.0


def _bar(kind: str, left: float, step: float, height: float) -> Markup:
    if not height:
        return Markup()
    return Markup(
        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="1"/>'
    ).format(
        *(kind, left + step * _GAP / 2, _HEIGHT - height, step * (1 - _GAP), height)
    )


def _framed(inner: Markup, about: str) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img">'
        "<title>{}</title>{}</svg>"
    ).format(_WIDTH, _HEIGHT, about, inner)


CHARTS: Mapping[str, Callable[..., Any]] = {"bars": bars, "line": line, "share": share}
