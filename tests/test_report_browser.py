"""The report in a real browser: it runs without complaint, follows the pointer, fits a phone, prints."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image
from reports import trained

from vae_tf.report import train_sweep, write_report

pytestmark = pytest.mark.usefixtures("fewer_samples")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    run = trained(tmp_path_factory.mktemp("plane"), latent_dim=2, channels=3, training={"epochs": 30, "learning_rate": 0.01})
    return write_report(run, run.images(), swept=train_sweep(run, [1, 2], verbose=0)).as_uri()


@pytest.fixture(scope="module")
def browser():
    executable = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
    if executable is None:
        pytest.skip("no Chromium here: install one, such as Debian's package `chromium`, to open the report in it")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, address):
    """The report in a window, with all that the browser complains about and asks for."""
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.complaints, page.asked = [], []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("requestfailed", lambda request: page.complaints.append(request.url[:80]))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(address)
    page.wait_for_function("document.querySelector('.explorer canvas').getAttribute('aria-label')")
    yield page
    assert page.complaints == []
    assert [url for url in page.asked if not url.startswith(("data:", address))] == []
    page.close()


def decoded(page):
    """What the canvas shows."""
    return page.evaluate("document.querySelector('.explorer canvas').toDataURL()")


def place(page, z):
    """Where z is on the screen."""
    return page.evaluate(
        """([z1, z2]) => {
          const plane = document.querySelector("[data-explore]");
          const { left, top, width, height, low, high } = JSON.parse(plane.dataset.explore);
          const box = plane.querySelector("img").getBoundingClientRect();
          const x = (z1 - low[0]) / (high[0] - low[0]), y = (z2 - low[1]) / (high[1] - low[1]);
          return [box.left + box.width * (left + x * width), box.top + box.height * (top + (1 - y) * height)];
        }""",
        z,
    )


def test_every_picture_is_drawn(opened):
    widths = opened.evaluate("[...document.images].map((image) => image.naturalWidth)")
    assert len(widths) > 15
    assert min(widths) > 0


def test_the_decoded_image_follows_the_pointer_and_the_mark_is_under_it(opened):
    opened.locator("[data-explore]").scroll_into_view_if_needed()
    seen = []
    for z in ((-1.5, 1.0), (1.5, -1.0)):
        x, y = place(opened, z)
        opened.mouse.move(x, y)
        seen.append(decoded(opened))
        shown = opened.locator(".explorer output").inner_text()
        np.testing.assert_allclose([float(part) for part in shown.strip("z =()").split(",")], z, atol=0.3)
        mark = opened.locator(".mark").bounding_box()
        np.testing.assert_allclose([mark["x"] + mark["width"] / 2, mark["y"] + mark["height"] / 2], [x, y], atol=25)
    assert seen[0] != seen[1]
    opened.mouse.move(1, 1)
    assert decoded(opened) == seen[1], "off the plane the last image stays"


def test_the_canvas_shows_the_tile_of_the_sprite(opened):
    tile = opened.evaluate(
        """async () => {
          const { sprite, side, tile } = JSON.parse(document.querySelector("[data-explore]").dataset.explore);
          const sheet = new Image(); sheet.src = sprite; await sheet.decode();
          const canvas = Object.assign(document.createElement("canvas"), { width: tile[1], height: tile[0] });
          canvas.getContext("2d").drawImage(sheet, 0, 0, tile[1], tile[0], 0, 0, tile[1], tile[0]);
          return canvas.toDataURL();
        }"""
    )
    sliders = opened.locator(".explorer input")
    for index, end in ((0, "Home"), (1, "End")):
        sliders.nth(index).focus()
        opened.keyboard.press(end)
    assert decoded(opened) == tile, "the smallest z_1 and the largest z_2 are the first tile"


def test_the_plane_can_be_explored_by_keyboard(opened):
    before = decoded(opened), opened.locator(".explorer output").inner_text()
    opened.locator(".explorer input").first.focus()
    for _ in range(4):
        opened.keyboard.press("ArrowRight")
    assert (decoded(opened), opened.locator(".explorer output").inner_text()) != before
    label = opened.locator(".explorer canvas").get_attribute("aria-label")
    assert label == f"Decoded image at {opened.locator('.explorer output').inner_text()}"


def test_it_opens_beside_the_z_of_the_story(opened):
    shown = opened.locator(".explorer output").inner_text()
    step = opened.evaluate("Number(document.querySelector('.explorer input').step)")
    np.testing.assert_allclose([float(part) for part in shown.strip("z =()").split(",")], [0.1, 0.5], atol=step / 2 + 0.005)


def test_what_is_wrong_is_said_before_the_long_tables(opened):
    headings = opened.locator("h2").all_inner_texts()
    assert "Diagnosis" not in headings or headings.index("Diagnosis") == 0


def test_charts_shrink_to_a_phone(opened):
    opened.set_viewport_size({"width": 400, "height": 700})
    edges = opened.evaluate("[...document.images].map((image) => image.getBoundingClientRect().right)")
    cut = opened.evaluate("[...document.querySelectorAll('.picture')].map((box) => box.scrollWidth - box.clientWidth)")
    assert max(edges) <= 400
    assert max(cut) <= 0


@pytest.mark.parametrize("width", [360, 1400])
def test_it_fits_phones_and_wide_screens(opened, width):
    opened.set_viewport_size({"width": width, "height": 700})
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    x, _ = place(opened, (0.0, 0.0))
    opened.locator("[data-explore]").scroll_into_view_if_needed()
    assert 0 < x < width


def test_without_scripts_the_pictures_stay(browser, address):
    page = browser.new_page(java_script_enabled=False)
    page.goto(address)
    assert page.locator("section.shown img").count() > 15
    assert page.locator(".explorer").count() == 0
    page.close()


def test_it_prints_on_pages_without_cutting_a_picture(opened):
    opened.emulate_media(media="print")
    assert not opened.locator(".explorer").is_visible()
    assert not opened.locator("nav").is_visible()
    heights = opened.evaluate("[...document.images].map((image) => image.getBoundingClientRect().height)")
    assert max(heights) < 1123 - 2 * 38, "each fits a page of A4 with margins"
    opened.emulate_media(media="print", color_scheme="dark")
    ink = opened.evaluate("getComputedStyle(document.body).color")
    assert ink == "rgb(29, 33, 37)", "paper is white, whatever the screen is"
    printed = opened.pdf(format="A4")
    pages = printed.count(b"/Type /Page\n") or printed.count(b"/Type /Page") - printed.count(b"/Type /Pages")
    assert 5 <= pages <= 25


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_ink_and_ground_are_far_apart_in_both_colour_schemes(browser, address, scheme):
    page = browser.new_page(viewport={"width": 900, "height": 600}, color_scheme=scheme)
    page.goto(address)
    picture = page.locator("img.diagram").first
    picture.scroll_into_view_if_needed()
    with Image.open(io.BytesIO(picture.screenshot())) as image:
        grey = np.asarray(image.convert("L"), float)
    ground = np.median(grey)
    assert (ground > 200) == (scheme == "light")
    assert np.abs(grey - ground).max() > 150, "text is readable"
    page.close()
