"""The report in Debian's chromium, opened from a file: what people see and can do."""

import shutil
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="make test installs playwright")

CHROMIUM = shutil.which("chromium")
AXE = Path(__file__).parent / "axe" / "node_modules" / "axe-core" / "axe.min.js"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt install chromium"),
]
SIZES = {"wide": (1280, 800), "phone": (360, 740)}


@pytest.fixture(scope="module")
def file(tmp_path_factory, html):
    path = tmp_path_factory.mktemp("browser") / "report.html"
    path.write_text(html, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser, file):
    """A function that opens the report; the test fails where it logs or fetches anything."""
    opened, said = [], []

    def open_(size="wide", scheme="light", **options):
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, **options
        )
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url))
        page.goto(file.as_uri())
        opened.append(context)
        return page

    yield open_
    for context in opened:
        context.close()
    kept = [text for text in said if not text.startswith(("data:", file.as_uri()))]
    assert kept == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_opens_silently_and_fits_the_screen(visit, size, scheme):
    page = visit(size, scheme)
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= SIZES[size][0]


def test_the_verdict_is_on_the_first_screen(visit):
    page = visit()
    for card in page.locator(".answer").all()[:5]:
        box = card.bounding_box()
        assert box["y"] + box["height"] <= SIZES["wide"][1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_there_is_no_accessibility_violation(visit, size, scheme):
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: make browser")
    # The page's own policy would refuse a second script.
    page = visit(size, scheme, bypass_csp=True)
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    told = [
        (
            violation["id"],
            violation["help"],
            [node["html"][:200] for node in violation["nodes"]][:3],
        )
        for violation in found["violations"]
    ]
    assert told == []


def test_a_violation_would_be_found(visit):
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: make browser")
    page = visit(bypass_csp=True)
    page.evaluate("document.querySelector('.chart svg').removeAttribute('aria-labelledby')")
    page.evaluate("document.querySelector('.chart svg title').remove()")
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    assert [violation["id"] for violation in found["violations"]] == ["svg-img-alt"]


def _column(table, index):
    return [
        row.locator("th, td").nth(index).inner_text() for row in table.locator("tbody tr").all()
    ]


def test_a_heading_sorts_up_and_down_by_number(visit):
    page = visit()
    table = page.locator("table").first
    headings = [text.strip() for text in table.locator("thead th").all_inner_texts()]
    index = next(i for i, text in enumerate(headings) if text.startswith("mean Dice"))
    heading = table.locator("thead th").nth(index)
    before = _column(table, 0)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    values = [float(text) for text in _column(table, index)]
    assert values == sorted(values)
    assert len(set(values)) == len(values) > 3
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert [float(text) for text in _column(table, index)] == sorted(values, reverse=True)
    assert _column(table, 0) == before


def _background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def _ink(page):
    """Of the first chart's first label."""
    return page.evaluate("getComputedStyle(document.querySelector('.chart text')).fill")


def test_the_theme_follows_the_system_and_the_button(visit):
    light, dark = visit(), visit(scheme="dark")
    assert _background(light) == "rgb(255, 255, 255)"
    assert _background(dark) == "rgb(22, 22, 26)"
    assert _ink(light) != _ink(dark)
    seen = [_background(light)]
    for _ in range(3):
        light.get_by_role("button", name="Theme").click()
        seen.append(_background(light))
    assert seen == ["rgb(255, 255, 255)"] * 2 + ["rgb(22, 22, 26)"] + ["rgb(255, 255, 255)"]
    assert "as the system" in light.get_by_role("button", name="Theme").inner_text()


def test_the_chosen_theme_is_kept(visit):
    page = visit()
    button = page.get_by_role("button", name="Theme")
    button.click()
    button.click()
    page.reload()
    assert "dark" in page.get_by_role("button", name="Theme").inner_text()
    assert _background(page) == "rgb(22, 22, 26)"


def test_a_class_can_be_hidden_in_every_panel(visit):
    page = visit()
    gallery = page.locator(".gallery").first
    box = gallery.get_by_role("checkbox", name="tumor")
    layers = gallery.locator("details[open] .panel use.k0")
    shown = "(all) => all.map((one) => getComputedStyle(one).display !== 'none')"
    assert layers.count() >= 3
    assert all(layers.evaluate_all(shown))
    box.focus()
    page.keyboard.press("Space")
    assert not any(layers.evaluate_all(shown))
    others = gallery.locator("details[open] .panel use.k1")
    assert all(others.evaluate_all(shown))
    box.check()
    assert all(layers.evaluate_all(shown))


def test_pictures_are_drawn(visit):
    """What is stored once is used by panels: a truth without colours would be the image."""
    page = visit()
    panels = page.locator("details[open] .panel svg")
    panels.first.scroll_into_view_if_needed()
    image, truth = (panels.nth(index).screenshot() for index in (0, 1))
    assert image != truth


def test_wide_tables_are_scrolled_by_keys(visit):
    page = visit("phone")
    box = page.locator(".scroll[tabindex='0']").first
    assert box.get_attribute("role") == "region"
    assert box.get_attribute("aria-label")
    box.focus()
    before = box.evaluate("(one) => one.scrollLeft")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("(one) => one.scrollLeft > 0", arg=box.element_handle())
    assert before == 0


def test_it_can_be_read_without_scripts(visit):
    page = visit(java_script_enabled=False)
    assert page.locator(".answer").count() >= 5
    assert page.get_by_role("button", name="Theme").count() == 0
    gallery = page.locator(".gallery").first
    gallery.get_by_role("checkbox", name="tumor").uncheck()
    assert not gallery.locator("details[open] .panel use.k0").first.is_visible()


def test_print_opens_what_is_folded_and_is_light(visit):
    page = visit(scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.emulate_media(media="print", color_scheme="dark")
    assert _background(page) == "rgb(255, 255, 255)"
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() > 0


def test_nothing_is_wider_than_paper(visit):
    """A4 without its margins: what does not fit there cannot be scrolled to."""
    page = visit()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 718, "height": 1000})
    wide = "(all) => all.filter((one) => one.getBoundingClientRect().right > 718).length"
    assert page.locator("table, figure svg").evaluate_all(wide) == 0


def test_the_first_tab_stop_leads_past_the_header(visit):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
