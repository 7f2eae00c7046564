"""The page in a real browser: no network, sorting, searching, columns, a phone, and everybody can read it."""

import os
import shutil

import pytest
import torch
from torch import nn

from faltung.report import inspect

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
if BROWSER is None and os.environ.get("FALTUNG_BROWSER") != "required":
    pytest.skip("no Chromium on this machine", allow_module_level=True)

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    assert BROWSER, "FALTUNG_BROWSER=required, and no chromium is installed"
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=BROWSER, args=QUIET)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(),
        nn.Conv2d(24, 24, 2, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10),
    ).eval()  # fmt: skip
    with torch.no_grad():
        model[3].weight[:4] = 0
    found = tmp_path_factory.mktemp("report") / "page.html"
    inspect(model, torch.randn(1, 3, 64, 64)).save(found)
    return found


@pytest.fixture
def page(browser, path):
    opened = browser.new_page()
    opened.problems = []
    opened.requests = []
    opened.on("pageerror", lambda error: opened.problems.append(str(error)))
    opened.on("console", lambda message: opened.problems.append(message.text) if message.type == "error" else None)
    opened.on("request", lambda request: opened.requests.append(request.url))
    opened.goto(f"file://{path}")
    yield opened
    assert opened.problems == []
    assert [url for url in opened.requests if not url.startswith(("file:", "data:"))] == []
    opened.close()


def names(page):
    return page.eval_on_selector_all("#table tbody tr:not(.hidden) th", "cells => cells.map(c => c.textContent)")


def test_sorting_by_a_column(page):
    before = names(page)
    head = page.locator("#table th button", has_text="calls")
    assert len(before) == 4
    page.locator("#table th button").first.click()
    assert names(page) == sorted(before)
    page.locator("#table th button").first.click()
    assert names(page) == sorted(before, reverse=True)
    head.click()
    assert page.locator("#table th[aria-sort]").count() == 1


def test_numbers_sort_as_numbers_and_the_unknown_comes_last(page):
    column = page.locator("#table th button", has_text="dead outputs")
    for clicks in (1, 2):
        column.click()
        index = column.evaluate("button => button.parentElement.cellIndex")
        values = page.eval_on_selector_all("#table tbody tr", f"rows => rows.map(r => r.cells[{index}].dataset.value)")
        known = [float(v) for v in values if v != ""]
        assert known == sorted(known, reverse=clicks == 2)
        assert "" not in values[: len(known)]


def test_searching(page):
    page.fill("#find", "linear")
    assert names(page) == ["8"]
    assert page.text_content("#count") == "1 of 4 layers"
    page.fill("#find", "")
    assert len(names(page)) == 4


def test_columns_come_and_go(page):
    cell = page.locator("#table th", has_text="MACs")
    assert not cell.is_visible()
    page.locator("input.section[value=cost]").check()
    assert cell.is_visible()
    page.locator("input.section[value=cost]").uncheck()
    assert not cell.is_visible()


def test_findings_lead_to_their_layers(page):
    finding = page.locator(".finding", has_text="F5")
    finding.locator("a").first.click()
    assert page.evaluate("document.querySelector(':target').cells[0].textContent") == "3"
    assert finding.locator(".grade").text_content() == "Fault"


def test_a_phone_shows_it_without_sideways_scrolling(browser, path):
    phone = browser.new_page(viewport={"width": 360, "height": 740})
    phone.goto(f"file://{path}")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 360
    phone.close()


LUMINANCE = """
element => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const light = rgb => { const c = rgb.slice(0, 3).map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]; };
  let behind = element, colour;
  do { colour = parse(getComputedStyle(behind).backgroundColor); behind = behind.parentElement; }
  while (behind && colour.length === 4 && colour[3] === 0);
  if (colour.length === 4 && colour[3] === 0) colour = parse(getComputedStyle(document.body).backgroundColor);
  const pair = [light(parse(getComputedStyle(element).color)), light(colour)].sort((a, b) => b - a);
  return (pair[0] + 0.05) / (pair[1] + 0.05);
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_paper_in_both_schemes(browser, path, scheme):
    opened = browser.new_page(color_scheme=scheme)
    opened.goto(f"file://{path}")
    papers = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (papers == "rgb(255, 255, 255)") == (scheme == "light")
    for selector in ("p", ".soft", "a", ".grade", "th", "td", "dt", "dd", "figcaption", "code"):
        for element in opened.query_selector_all(selector)[:12]:
            assert element.evaluate(LUMINANCE) >= 4.5, f"{selector}: {element.text_content()[:40]!r}"
    opened.close()


def test_everything_has_words(page):
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert page.locator("svg:not([aria-label])").count() == 0
    assert page.locator("img").count() >= 1
    assert page.locator("svg").count() >= 1
    assert page.get_attribute("html", "lang") == "en"
    unnamed = page.eval_on_selector_all("input", "all => all.filter(i => !i.labels.length).length")
    assert unnamed == 0


def test_the_keyboard_reaches_the_table(page):
    page.locator("#find").focus()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('th') !== null"):
            break
    page.keyboard.press("Enter")
    assert page.locator("#table th[aria-sort]").count() == 1
