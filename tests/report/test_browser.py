"""The page in a headless Chromium: nothing is asked for or complained about, figures are seen, phones and paper fit."""

import base64

import chromium
import pytest
from analysis_examples import with_analyses
from report_examples import run_group, tolerance, trained

from snnrobust.report.html import write_report
from snnrobust.storage import write_run

pytestmark = pytest.mark.skipif(
    chromium.find() is None, reason=f"no browser: none of {', '.join(chromium.NAMES)} is on the PATH"
)
WIDTHS = (390, 1280)
FIGURES = "[...document.querySelectorAll('figure svg')]"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.Browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report with every kind of section."""
    folder = tmp_path_factory.mktemp("page")
    stored = with_analyses(run_group(tolerance(), [trained(), trained("adversarial", epoch=1)]))
    write_run(folder / "run.h5", stored)
    write_report(folder / "run.h5", folder / "report.html")
    return folder / "report.html"


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_requested_or_complained_about(browser, page, width):
    browser.open(page, width=width)
    assert browser.requested == []
    assert browser.complaints == []


@pytest.mark.parametrize("width", WIDTHS)
def test_every_figure_is_seen_whole(browser, page, width):
    browser.open(page, width=width)
    boxes = browser.value(
        f"{FIGURES}.map(f => [f.getBoundingClientRect().width, f.getBoundingClientRect().height, "
        "f.getBoundingClientRect().right, f.querySelectorAll('path').length, "
        "f.getElementsByTagName('text').length ? Math.min(...[...f.getElementsByTagName('text')]"
        ".map(t => t.getBoundingClientRect().height)) : 0])"
    )
    assert len(boxes) >= 9
    for wide, high, right, paths, text in boxes:
        assert wide > min(250, 0.7 * width)
        assert high > 80
        assert right <= width
        assert paths > 5
        assert text > 8.5  # px: the smallest line of text can be read


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_does_not_move_sideways(browser, page, width):
    browser.open(page, width=width)
    assert browser.value("document.documentElement.scrollWidth") <= width


def test_the_verdict_is_on_the_first_screen_of_a_phone(browser, page):
    browser.open(page, width=390, height=800)
    assert browser.value("document.querySelector('.verdict .yield').getBoundingClientRect().bottom") < 800


def test_it_prints(browser, page):
    browser.open(page, width=1280)
    pdf = base64.b64decode(browser.ask("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert pdf.startswith(b"%PDF")
    assert 2 <= pdf.count(b"/Type /Page\n") <= 30


def test_paper_has_all_that_a_screen_folds_or_scrolls(browser, page):
    """A4 with the page's margins is 688 px wide; what is folded would be there, but not be drawn."""
    folded = "[...document.querySelectorAll('details:not([open]) > *:not(summary)')]"
    drawn = f"{folded}.filter(e => e.checkVisibility({{contentVisibilityAuto: true}})).length"
    beyond = "[...document.querySelectorAll('.scroll')].filter(e => getComputedStyle(e).overflowX !== 'visible').length"
    right = "Math.max(...[...document.querySelectorAll('td, pre, svg')].map(e => e.getBoundingClientRect().right))"
    browser.open(page, width=688)
    count = browser.value(f"{folded}.length")
    assert count > 5
    assert (browser.value(drawn), browser.value(beyond) > 5) == (0, True)
    browser.ask("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.value(drawn) == count
        assert browser.value(beyond) == 0
        assert browser.value(right) <= 688
    finally:
        browser.ask("Emulation.setEmulatedMedia", media="")


def test_the_browser_would_notice(browser, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text("<body><img src='http://127.0.0.1:9/x.png'><script>console.error('no'); throw 1</script></body>")
    browser.open(bad, width=390)
    assert browser.requested == ["http://127.0.0.1:9/x.png"]
    assert len(browser.complaints) >= 2
