"""The page works: its functions in Node, and itself in a headless browser."""

import json
import pathlib
import re
import shutil
import subprocess

import pytest

from experiments._report import joined, page, read

from . import runs


SCRIPT = pathlib.Path(__file__).parents[1] / "experiments" / "_report" / "page.js"
NODE = shutil.which("node")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)

# Sorts the first table by its second column twice, moves the slider, and says what it saw.
PROBE = """<script>addEventListener("load", () => {
  const table = document.querySelector("table"), seen = {errors: window.seenErrors};
  const column = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
  const head = table.tHead.rows[0].cells[1];
  head.querySelector("button").click();
  seen.ascending = [column(), head.getAttribute("aria-sort")];
  head.querySelector("button").click();
  seen.descending = [column(), head.getAttribute("aria-sort")];
  const canvas = document.querySelector("canvas[data-kind=change]");
  const slider = document.querySelector("input[type=range]");
  const pixel = () => [...canvas.getContext("2d").getImageData(0, 0, 1, 1).data];
  const said = document.querySelector("output");
  seen.end = [pixel(), said.textContent];
  slider.value = 0;
  slider.dispatchEvent(new Event("input"));
  seen.start = [pixel(), said.textContent];
  document.documentElement.style.width = "360px";
  seen.width = document.body.scrollWidth;
  const out = document.createElement("pre");
  out.id = "seen";
  out.textContent = JSON.stringify(seen);
  document.body.append(out);
});</script>"""
WATCH = """<head><script>window.seenErrors = [];
addEventListener("error", (event) => window.seenErrors.push(event.message));
console.error = (text) => window.seenErrors.push(String(text));</script>"""


@pytest.mark.skipif(NODE is None, reason="needs Node")
def test_the_functions_of_the_page():
    program = f"""
    const page = require({json.dumps(str(SCRIPT))});
    const bytes = page.decode(Buffer.from([0, 127, 129]).toString("base64"));
    const layer = {{rows: 1, columns: 2}};
    console.log(JSON.stringify({{
      up: page.order(["b", "10", "", "9", "1e-3"], false),
      down: page.order(["b", "10", "", "9", "1e-3"], true),
      stable: page.order(["1", "1", "0"], false),
      bytes: [...bytes],
      none: page.colour(0), above: page.colour(127), below: page.colour(-127),
      pixels: [...page.pixels([0, 0, 0, 0, 0, 0, -127, 127], layer, 1, 1, 2)],
    }}));
    """
    command = [str(NODE), "-e", program]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    seen = json.loads(said)
    assert seen["up"] == [4, 3, 1, 0, 2] and seen["down"] == [0, 1, 3, 4, 2]
    assert seen["stable"] == [2, 0, 1]
    assert seen["bytes"] == [0, 127, -127]
    assert seen["none"] == [255, 255, 255]
    red, blue = seen["above"], seen["below"]
    assert red[0] > 2 * red[2] and blue[2] > 2 * blue[0]
    assert seen["pixels"] == [*blue, 255, *red, 255]


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_the_page_in_a_browser(tmp_path):
    rows = [
        runs.row(name, {"forecast_mse": figure})
        for name, figure in (("A", 0.5), ("B", 12.0), ("C", 1e-4))
    ]
    records = read([runs.folder(tmp_path / "run", *rows)])
    text = page(records, joined(records))
    text = text.replace("<head>", WATCH, 1).replace("</body>", PROBE + "</body>")
    path = tmp_path / "index.html"
    path.write_text(text)
    command = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--dump-dom",
    ]
    command += [f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r'<pre id="seen">(.*?)</pre>', run.stdout, re.DOTALL)
    assert found, run.stderr[-2000:]
    seen = json.loads(found.group(1))
    assert seen["errors"] == []
    assert seen["ascending"] == [["C", "A", "B"], "ascending"]
    assert seen["descending"] == [["B", "A", "C"], "descending"]
    assert seen["start"] == [[255, 255, 255, 255], "t = 0"]
    assert seen["end"][0] != seen["start"][0] and seen["end"][1] == "t = 1"
    assert seen["width"] <= 360
