"""Reports in a real browser: drawn without an error, readable, rotated by a drag, and without any request."""

import base64
import collections
import io
import itertools
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from matplotlib.image import imread

from experiments.activations import Trained
from experiments.config.load import validate
from experiments.data import load_dataset
from experiments.models import build_model
from experiments.report import contents
from experiments.report.record import run_of_folder
from experiments.report.source import read_source
from tests.experiments.common import small_config
from tests.experiments.report_files import write_run, write_speed, write_sweep

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
SIZES = {"wide": (1280, 900), "narrow": (390, 844)}
SOLIDS = {
    "name": "solids",
    "data": {"kind": "solids", "resolution": 16, "kinds": ["sphere", "torus"], "train_size": 8, "test_size": 4},
    "model": {"kind": "octnet3", "preset": "modelnet40-0.12", "hidden": 8, "input_density": 0.3},
}  # fmt: skip


def network(config):
    """An untrained network: what its layers store is as good to look at."""
    dataset, rng = load_dataset(config.data), np.random.default_rng(0)

    def drawn(leaf):
        # Drawn here: XLA would compile its generator of random numbers for ten seconds.
        if leaf.dtype == bool:
            return jnp.ones(leaf.shape, bool)
        return jnp.asarray(0.2 * rng.standard_normal(leaf.shape), leaf.dtype)

    graph, state = nnx.split(nnx.eval_shape(lambda: build_model(config.model, dataset, seed=0)))
    model = nnx.merge(graph, jax.tree.map(drawn, state))
    model.eval()
    return Trained(0, config, dataset, model)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """name -> path: a run of solids, one of images, a sweep, the table of MNIST."""
    root = tmp_path_factory.mktemp("root")
    write_speed(root)
    run = run_of_folder(write_run(root / "run"))
    texts = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, config in (("solids", validate(SOLIDS, "test")), ("images", small_config())):
            trained = network(config)
            patch.setattr(contents, "load", lambda *_, trained=trained: trained)
            texts[name] = contents.run_page(run, root, [0, 1], ())
    for name, path, of in (
        ("sweep", write_sweep(root / "sweep"), root),
        ("table", ROOT / "experiments" / "results" / "mnist", ROOT),
    ):
        texts[name] = contents.many_page(read_source(path, of), of, [], (), path)
    for name, text in texts.items():
        (root / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: root / f"{name}.html" for name in texts}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    missing = [name for name, path in programs.items() if path is None]
    assert not missing, f"not on PATH: {missing}; Debian: apt-get install chromium chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    for argument in (
        "headless=new",
        "no-sandbox",
        "disable-dev-shm-usage",
        "disable-gpu",
        "hide-scrollbars",
        f"user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(programs["chromedriver"]))
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0},
    )
    yield driver
    driver.quit()


@pytest.fixture
def show(browser, pages):
    """Opens a page in a size and a theme, when all is drawn."""

    def opened(name, size="wide", theme="light", media=""):
        width, height = SIZES[size]
        browser.get_log("browser"), browser.get_log("performance")
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": theme}]
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"media": media, "features": features}
        )
        browser.get(pages[name].as_uri())
        browser.set_script_timeout(20)
        browser.execute_async_script(DRAWN)
        return browser

    return opened


DRAWN = """
const done = arguments[0];
const look = () => {
  const axes = [...document.querySelectorAll(".axes")].filter((place) => place.clientWidth);
  if (axes.length && axes.every((place) => place.querySelector(".xtick, .gridlayer")))
    requestAnimationFrame(() => requestAnimationFrame(done));
  else setTimeout(look, 30);
};
look();
"""

TEXTS = """
const found = [];
for (const text of document.querySelectorAll("h1, h2, h3, h4, p.text, .layer p, .legend button, .axes svg text")) {
  const box = text.getBoundingClientRect();
  if (!text.checkVisibility() || !box.width || text.closest(".hoverlayer") || !text.textContent.trim()) continue;
  found.push([text.textContent.slice(0, 40), box.left + scrollX, box.top + scrollY, box.right + scrollX, box.bottom + scrollY,
    Number(getComputedStyle(text).fontSize.slice(0, -2))]);
}
return found;
"""


def overlaps(texts):
    """Pairs of texts whose boxes share more than a rim of two pixels."""
    found = []
    for (one, *a, _), (two, *b, _) in itertools.combinations(texts, 2):
        width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        if width > 2 and height > 2:
            found.append((one, two, width, height))
    return found


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["solids", "images", "sweep", "table"])
def test_pages_are_drawn_and_readable(show, pages, name, size):
    browser = show(name, size)
    assert browser.get_log("browser") == []
    plots = json.loads(pages[name].read_text().split('id="data">')[1].split("</script>")[0])[
        "plots"
    ]
    drawn = browser.execute_script(
        """return [...document.querySelectorAll(".plot")].map((plot) => [plot.dataset.plot,
             [...plot.querySelectorAll(".axes")].map((axes) => axes.querySelectorAll(
               ".scatterlayer .trace, .heatmaplayer .hm").length)])"""
    )
    assert {plot: counts for plot, counts in drawn} == {
        plot: [len(panel["data"]) for panel in panels] for plot, panels in plots.items()
    }
    # Nothing is wider than the page; tables and wide figures scroll on their own.
    assert browser.execute_script("return document.documentElement.scrollWidth") <= SIZES[size][0]
    texts = browser.execute_script(TEXTS)
    assert len(texts) > 40 and min(text[-1] for text in texts) >= 9
    assert overlaps(texts) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_in_both_themes(show, theme):
    browser = show("sweep", theme=theme)
    colours = browser.execute_script(
        """return [getComputedStyle(document.body).backgroundColor,
             ...[...document.querySelectorAll("h1, p.text, th, td, .axes .xtick text, .axes .xtitle, .legend button")].map(
               (text) => text.closest("svg") ? getComputedStyle(text).fill : getComputedStyle(text).color)]"""
    )
    page, *texts = [np.array([float(x) for x in c[c.index("(") + 1 : -1].split(",")[:3]]) for c in colours]  # fmt: skip
    assert min(contrast(page, text) for text in texts) >= 4.5
    assert (page.mean() < 64) == (theme == "dark")
    lines = browser.execute_script(
        "return [...new Set([...document.querySelectorAll('.js-line')].map((l) => getComputedStyle(l).stroke))]"
    )
    marks = [np.array([float(x) for x in c[4:-1].split(",")]) for c in lines]
    assert len(marks) >= 3 and min(contrast(page, mark) for mark in marks) >= 3


def contrast(one, two):
    """Of two sRGB colours, as WCAG 2 defines it."""

    def luminance(colour):  # fmt: skip
        c = colour / 255
        c = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return c @ np.array([0.2126, 0.7152, 0.0722]) + 0.05

    low, high = sorted((luminance(one), luminance(two)))
    return high / low


def test_nothing_leaves_the_page(show):
    browser = show("solids")
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    counted = collections.Counter(
        message["params"]["request"]["url"].split(":")[0]
        for message in sent
        if message["method"] == "Network.requestWillBeSent"
    )
    assert set(counted) <= {"file", "data"} and counted["file"] == 1
    # A page that tried would not be let.
    refused = browser.execute_async_script(
        "fetch('https://example.com/').then(() => arguments[0](false), () => arguments[0](true))"
    )
    policy = [entry["message"] for entry in browser.get_log("browser")]
    assert refused and any("Content Security Policy" in message for message in policy)


CANVASES = "return [...document.querySelectorAll('.layer canvas')]"


def filled(browser):
    """The share of pixels of every picture that are painted."""
    return browser.execute_script(
        CANVASES
        + """.map((canvas) => {
          const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          let painted = 0;
          for (let at = 3; at < data.length; at += 4) painted += data[at] === 255;
          return painted / (canvas.width * canvas.height); })"""
    )


def test_solids_rotate(show):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser = show("solids")
    canvases = browser.execute_script(CANVASES)
    assert len(canvases) == len(SOLIDS_LAYERS) and min(filled(browser)) > 0.02
    titles = browser.execute_script(
        "return [...document.querySelectorAll('.layer h4')].map((t) => t.innerText)"
    )
    assert titles == SOLIDS_LAYERS

    def look():
        browser.execute_async_script(
            "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"
        )
        view = [
            [c.get_attribute("data-azimuth"), c.get_attribute("data-elevation")] for c in canvases
        ]
        assert all(v == view[0] for v in view)  # all of them turn together
        return np.array(view[0], float), canvases[1].screenshot_as_png

    start, picture = look()
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvases[1])
    ActionChains(browser, duration=50).drag_and_drop_by_offset(canvases[1], 60, 30).perform()
    dragged, other = look()
    np.testing.assert_allclose(dragged - start, [-0.6, 0.3], atol=0.02)
    assert other != picture
    # The pointer is up: it moves nothing any more.
    ActionChains(browser, duration=50).move_to_element_with_offset(canvases[1], 20, 20).perform()
    assert (look()[0] == dragged).all()
    canvases[0].send_keys(Keys.ARROW_LEFT)
    assert look()[0][0] > dragged[0]
    browser.find_element("css selector", ".controls button").click()
    assert (look()[0] == start).all()


SOLIDS_LAYERS = ["input", "conv1", "conv2", "conv3", "pool1", "conv4", "conv5", "conv6"]


def test_images_and_channels_are_chosen(show):
    from selenium.webdriver.support.select import Select

    browser = show("images")
    first = filled(browser)
    assert len(first) == 2 * 8 and min(first) > 0
    # Sparse above, its dense twin below: it stores more.
    assert all(dense > sparse for sparse, dense in zip(first[2::2], first[3::2], strict=True))
    image, channel = browser.find_elements("css selector", ".controls select")
    assert [o.text.split(":")[0] for o in Select(image).options] == ["test image 0", "test image 1"]
    labels = "return [...document.querySelectorAll('.layer canvas')].map((c) => c.getAttribute('aria-label'))"
    before = browser.execute_script(labels)
    assert before[0].startswith("input, sparse channel 0 of 1: ")
    Select(image).select_by_index(1)
    assert filled(browser) != first
    Select(channel).select_by_index(3)
    after = browser.execute_script(labels)
    assert (
        after[0].split(":")[0] == before[0].split(":")[0]
        and after[2].split(":")[0] != before[2].split(":")[0]
    )
    assert browser.get_log("browser") == []


def test_the_legend_hides_curves(show):
    browser = show("solids")
    button = browser.find_elements("css selector", "#plot-densities .legend button")[0]
    browser.execute_script("arguments[0].focus()", button)
    count = "return document.querySelectorAll('#plot-densities .scatterlayer .trace').length"
    before = browser.execute_script(count)
    button.send_keys(" ")
    assert button.get_attribute("aria-pressed") == "false"
    assert browser.execute_script(count) == before * 2 / 3
    button.click()
    assert browser.execute_script(count) == before


def test_the_printed_page_is_light(show):
    browser = show("solids", theme="dark", media="print")
    page, text = browser.execute_script(
        """return [getComputedStyle(document.body).backgroundColor,
                   getComputedStyle(document.querySelector(".axes .xtick text")).fill]"""
    )
    assert page == "rgb(255, 255, 255)" and text == "rgb(0, 0, 0)"
    assert not browser.find_element("css selector", "nav").is_displayed()


PAINT = """
const [shape, keys, levels, size, views] = arguments;
document.querySelector("main").replaceChildren();
const canvas = document.createElement("canvas");
canvas.style.cssText = `width: ${size}px; height: ${size}px`;
document.querySelector("main").append(canvas);
const space = window.voxelSpace([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]]);
space.add(canvas, shape, { keys: Uint16Array.from(keys), levels: Uint8Array.from(levels) });
canvas.setPointerCapture = () => {};
const press = (type, x, y) => canvas.dispatchEvent(new PointerEvent(type, { clientX: x, clientY: y }));
const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
return (async () => {
  const pictures = [];
  press("pointerdown", 0, 0);
  for (const [azimuth, elevation] of views) {
    press("pointermove", -100 * (azimuth - 0.6), 100 * (elevation - 0.45)); // from where it starts
    await frame();
    pictures.push(canvas.toDataURL());
  }
  return pictures;
})();
"""


def test_near_cubes_hide_far_ones(show, rng):
    """Every pixel shows the cube that a ray from the eye meets first."""
    shape, size = np.array([4, 5, 6]), 240
    views = [(0.6, 0.45), (2.5, -0.8), (-2.0, 0.1), (4.0, 1.2)]
    keys = np.sort(rng.choice(shape.prod(), 40, replace=False))
    levels = rng.choice([1, 2, 3], len(keys))
    pictures = show("table").execute_script(
        PAINT, shape.tolist(), keys.tolist(), levels.tolist(), size, views
    )
    for view, picture in zip(views, pictures, strict=True):
        png = base64.b64decode(picture.removeprefix("data:image/png;base64,"))
        pixels = np.rint(255 * imread(io.BytesIO(png)))
        hit = first_cubes(shape, np.array(np.unravel_index(keys, shape)).T, view, size)
        # Where a pixel's neighbours show the same: at edges two colours mix.
        same = np.ones((size, size), bool)
        for down, right in itertools.product((-2, 0, 2), repeat=2):
            same &= np.roll(hit, (down, right), (0, 1)) == hit
        seen = same & (hit >= 0)
        assert seen.sum() > 4000
        strongest = pixels[..., :3].argmax(axis=-1) + 1
        whole = pixels[..., 3] >= 240  # seams between faces are a little less than opaque
        np.testing.assert_array_equal(strongest[seen & whole], levels[hit[seen & whole]])
        assert whole[seen].mean() > 0.99
        assert whole[same & (hit < 0)].mean() < 0.01


def first_cubes(shape, cubes, view, size):
    """By rays: the number of the first cube at every pixel, -1 for none."""
    (sa, se), (ca, ce) = np.sin(view), np.cos(view)
    eye = np.array([ca * ce, sa * ce, se])
    right, down = np.array([-sa, ca, 0.0]), np.array([ca * se, sa * se, -ce])
    unit = 0.96 * size / np.linalg.norm(shape)
    y, x = (np.mgrid[:size, :size] + 0.5 - size / 2) / unit
    start = shape / 2 + x[..., None] * right + y[..., None] * down
    nearest, number = np.full((size, size), -np.inf), np.full((size, size), -1)
    for index, cube in enumerate(cubes):
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = np.sort([(cube - start) / eye, (cube + 1 - start) / eye], axis=0)
        enter, leave = ends[0].max(axis=-1), ends[1].min(axis=-1)
        first = (leave > enter) & (leave > nearest)
        nearest[first], number[first] = leave[first], index
    return number
