"""Takes screenshots of every page, at two sizes, dark and light: make screenshots.

PYTHONPATH=tests python tests/browser/screenshots.py [--out FOLDER] [--only now,files]
"""

import argparse
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image, ImageChops
from playwright.sync_api import FilePayload, Page, expect

import scenery
from browsing import PHONE, TOKENS, Pages, Site, a_browser, site_of
from daemons import ZoneOfTest, wait_for
from webclient import get, post

# Few colours make small files: those of large areas, and some near all the others, so
# that a small mark keeps its own.
_FREQUENT, _OTHERS, _EXACT = 32, 160, 12
_EVERY_COLOUR = 1 << 24
_DESKTOP = (1280, 960)
_HEADERS = {"authorization": f"Bearer {TOKENS['operate']}"}


@dataclass(frozen=True)
class Shot:
    """A page to take; ``prepare`` does what a person would do first."""

    path: str
    role: str | None = "operate"
    prepare: Callable[[Page], None] = lambda _: None


def shots(site: Site) -> Mapping[str, Shot]:
    """Return the pages that are taken when some files failed, by their names."""
    return {
        "now": Shot("/"),
        "files": Shot("/files"),
        "journey": Shot(f"/files/{_job(site, scenery.JOURNEY)}"),
        "failed": Shot(f"/files/{_job(site, scenery.FAILED)}"),
        "failures": Shot("/failures"),
        "search": Shot(f"/search?q={quote(scenery.QUESTION)}"),
        "settings": Shot("/settings"),
        "login": Shot("/login", role=None),
        "drop": Shot("/drop", prepare=drop_some),
    }


def drop_some(page: Page) -> None:
    """Bring files in, and wait until they are shown to have arrived."""
    chosen = [
        FilePayload(name=name, mimeType="application/octet-stream", buffer=content)
        for name, content in scenery.brought().items()
    ]
    page.locator("#drop-files").set_input_files(chosen)
    arrived = page.locator("li.upload .tag.good")
    expect(arrived).to_have_count(len(chosen))


def wait_until_logged(site: Site) -> None:
    """Wait for the run of the file whose journey is shown: it is the last to come."""
    url = f"{site.url}/api/v1/jobs/{_job(site, scenery.JOURNEY)}"
    wait_for(lambda: get(url, **_HEADERS).json["run_id"], "a run is logged")


def _job(site: Site, path: str) -> str:
    found = get(f"{site.url}/api/v1/lookup?q={quote(path)}", **_HEADERS).json
    return str(found["jobs"][0]["id"])


def well(site: Site) -> Mapping[str, Shot]:
    """Let files come of which none fails; return what is taken then."""
    files = scenery.good()
    scenery.drop(site.zone, files)
    scenery.wait_until_ended(site.zone, len(files))
    url = f"{site.url}/api/v1/overview"
    wait_for(
        lambda: all(one["healthy"] for one in get(url, **_HEADERS).json["services"]),
        "all services were asked",
    )
    return {"well": Shot("/")}


def paused(site: Site) -> Mapping[str, Shot]:
    """Let files wait behind a paused step; return what is taken then."""
    held = {"steps": ["index"], "seconds": 3600, "reason": "Postgres is being moved."}
    post(f"{site.url}/api/v1/pause", held, **_HEADERS)
    wait_for(lambda: site.zone.report().get("paused"), "the pause holds")
    wanted = scenery.later()
    scenery.drop(site.zone, wanted)
    wait_for(lambda: _overview(site)["under_way"] == len(wanted), "files are under way")
    return {"paused": Shot("/")}


def _overview(site: Site) -> Mapping[str, Any]:
    told: Mapping[str, Any] = get(f"{site.url}/api/v1/overview", **_HEADERS).json[
        "zones"
    ][0]
    return told


def take(pages: Pages, wanted: Mapping[str, Shot], options: argparse.Namespace) -> None:
    """Take each page at each size and in each colour; tell what complains."""
    for name, shot in wanted.items():
        if options.only and name not in options.only.split(","):
            continue
        for size in ("desktop", "phone"):
            for colour in ("light", "dark"):
                page = pages.open(
                    shot.path,
                    role=shot.role,
                    phone=size == "phone",
                    dark=colour == "dark",
                    size=PHONE if size == "phone" else _DESKTOP,
                )
                shot.prepare(page)
                page.evaluate("document.fonts.ready")
                path = options.out / f"{name}-{size}-{colour}.png"
                page.screenshot(path=path, full_page=options.full)
                _make_small(path)
        _close(pages, name)


def _close(pages: Pages, name: str) -> None:
    try:
        pages.close()
    except AssertionError as error:
        print(f"{name}: {error}")


def _make_small(path: Path) -> None:
    with Image.open(path) as image:
        whole = image.convert("RGB")
    known = sorted(whole.getcolors(_EVERY_COLOUR), reverse=True)
    frequent = [part for _, colour in known[:_FREQUENT] for part in colour]
    near = whole.quantize(_OTHERS, Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette(frequent + near[: 3 * _OTHERS])
    few = whole.quantize(palette=palette, dither=Image.Dither.NONE)
    # To find the nearest, Pillow rounds.
    for number, (_, colour) in enumerate(known[:_EXACT]):
        few.paste(number, mask=_where(whole, colour))
    few.save(path, optimize=True)


def _where(whole: Image.Image, colour: tuple[int, ...]) -> Image.Image:
    plain = Image.new("RGB", whole.size, colour)
    red, green, blue = ImageChops.difference(whole, plain).split()
    most = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    return most.point([255] + [0] * 255)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/screenshots"))
    parser.add_argument("--only", help="names, with commas between")
    parser.add_argument("--full", action="store_true", help="the whole page")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        # The path is to be read in the pictures.
        base = Path(tempfile.gettempdir()) / "office"
        shutil.rmtree(base, ignore_errors=True)
        base.mkdir()
        stack.callback(shutil.rmtree, base, ignore_errors=True)
        aside = stack.enter_context(tempfile.TemporaryDirectory())
        browser = stack.enter_context(a_browser(Path(aside)))
        # With servers of its own, as on a first day.
        zone = ZoneOfTest(base, {})
        scenery.history(zone.root)
        site = stack.enter_context(site_of(zone))
        pages = Pages(browser, site.url)
        take(pages, well(site), options)
        before, files = len(zone.receipts()), scenery.real()
        scenery.drop(zone, files)
        scenery.wait_until_ended(zone, before + len(files))
        wait_until_logged(site)
        take(pages, shots(site), options)
        take(pages, paused(site), options)
    taken = list(options.out.glob("*.png"))
    size = sum(one.stat().st_size for one in taken)
    print(f"{len(taken)} pictures in {options.out}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
