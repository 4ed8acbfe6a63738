"use strict";

/** Orders two cells: numbers before what is none, texts by the alphabet. */
function compare(a, b) {
  const [x, y] = [Number(a), Number(b)];
  const numbers = [a, b].map((text) => text !== "" && !Number.isNaN(Number(text)));
  if (numbers[0] && numbers[1]) return x - y;
  if (numbers[0] !== numbers[1]) return numbers[0] ? -1 : 1;
  return a.localeCompare(b);
}

/** Returns the places of the rows in order; empty cells are last either way. */
function order(values, descending) {
  const places = values.map((_, i) => i);
  return places.sort((i, j) => {
    if ((values[i] === "") !== (values[j] === "")) return values[i] === "" ? 1 : -1;
    const found = compare(values[i], values[j]);
    return (descending ? -found : found) || i - j;
  });
}

/** Returns the bytes of a base64 text, as numbers from -127 to 127. */
function decode(text) {
  return Int8Array.from(atob(text), (letter) => (letter.charCodeAt(0) << 24) >> 24);
}

/** Returns the colour of a number from -127 to 127: blue below zero, red above. */
function colour(value) {
  const share = Math.min(1, Math.abs(value) / 127);
  const away = [255 - 215 * share, 255 - 155 * share, 255 - 55 * share];
  return (value < 0 ? away : [away[2], away[0] + 20 * share, away[0]]).map(Math.round);
}

/** Returns the pixels of one frame of a layer, four bytes each. */
function pixels(values, layer, sequence, frame, frames) {
  const size = layer.rows * layer.columns;
  const begin = (sequence * frames + frame) * size;
  const bytes = new Uint8ClampedArray(4 * size);
  for (let i = 0; i < size; i += 1) bytes.set([...colour(values[begin + i]), 255], 4 * i);
  return bytes;
}

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      const values = rows.map((row) => row.cells[column].dataset.value);
      table.tBodies[0].append(...order(values, descending).map((i) => rows[i]));
    });
  });
}

function weights(view) {
  const data = JSON.parse(view.querySelector("script").textContent);
  const [slider, chosen] = [view.querySelector("input"), view.querySelector("select")];
  const said = view.querySelector("output");
  const layers = data.layers.map((layer) => ({
    ...layer, weights: decode(layer.weights), change: decode(layer.change),
  }));
  function draw() {
    const frame = Number(slider.value);
    const sequence = Number(chosen.value);
    said.textContent = `t = ${data.times[frame]}`;
    slider.setAttribute("aria-valuetext", said.textContent);
    view.querySelectorAll("canvas").forEach((canvas) => {
      const layer = layers[canvas.dataset.layer];
      const values = layer[canvas.dataset.kind];
      const bytes = pixels(values, layer, sequence, frame, data.times.length);
      const image = new ImageData(bytes, layer.columns, layer.rows);
      canvas.getContext("2d").putImageData(image, 0, 0);
    });
  }
  slider.addEventListener("input", draw);
  chosen.addEventListener("change", draw);
  draw();
}

if (typeof document === "undefined") {
  module.exports = { compare, order, decode, colour, pixels };
} else {
  document.querySelectorAll("table").forEach(sortable);
  document.querySelectorAll(".weights").forEach(weights);
}
