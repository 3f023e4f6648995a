// What the layers store for an image: one card a layer; flat images here, cubes in voxels.js.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent).pictures;
  const place = document.getElementById("pictures");
  if (!data || !place) return;

  // Legible on white and on near black; brighter is more.
  const STOPS = [[50, 88, 200], [124, 77, 205], [205, 66, 130], [240, 122, 48], [250, 196, 50]];
  const PALETTE = Array.from({ length: 256 }, (_, level) => {
    const t = (level / 255) * (STOPS.length - 1), low = Math.min(Math.floor(t), STOPS.length - 2);
    return STOPS[low].map((value, part) => Math.round(value + (t - low) * (STOPS[low + 1][part] - value)));
  });

  function bytes(text) {
    const raw = atob(text), held = new Uint8Array(raw.length);
    for (let index = 0; index < raw.length; index++) held[index] = raw.charCodeAt(index);
    return held;
  }

  function decode(channel, volume) {
    const held = bytes(channel.keys).buffer; // little-endian, as every machine with a browser is
    return { keys: volume <= 65536 ? new Uint16Array(held) : new Uint32Array(held), levels: bytes(channel.values) };
  }

  function element(kind, text, name) {
    const made = document.createElement(kind);
    if (text !== undefined) made.textContent = text;
    if (name) made.className = name;
    return made;
  }

  function choice(label, options, onChange) {
    const outer = element("label", label), select = element("select");
    options.forEach((text, index) => select.append(new Option(text, index)));
    select.addEventListener("change", () => onChange(Number(select.value)));
    outer.append(select);
    return outer;
  }

  function scale() {
    const outer = element("span", undefined, "scale"), bar = element("canvas");
    bar.width = 256; bar.height = 1;
    bar.style.cssText = "width: 120px; height: 12px; border-radius: 3px";
    const context = bar.getContext("2d");
    PALETTE.forEach((colour, x) => { context.fillStyle = `rgb(${colour})`; context.fillRect(x, 0, 1, 1); });
    outer.append("0", bar, "largest of the layer");
    return outer;
  }

  function flat(canvas, shape, voxels) {
    canvas.className = "flat";
    [canvas.height, canvas.width] = shape;
    const context = canvas.getContext("2d"), image = context.createImageData(shape[1], shape[0]);
    voxels.keys.forEach((key, index) => image.data.set([...PALETTE[voxels.levels[index]], 255], 4 * key));
    context.putImageData(image, 0, 0);
  }

  const chosen = { sample: 0, channel: 0 };
  const layers = element("div", undefined, "layers");
  const space = data.dimensions === 3 ? window.voxelSpace(PALETTE) : null;

  function show() {
    layers.replaceChildren();
    if (space) space.clear();
    for (const layer of data.samples[chosen.sample].layers) {
      const card = element("figure", undefined, "layer"), volume = layer.shape.reduce((a, b) => a * b, 1);
      card.append(element("h4", layer.name));
      for (const row of layer.rows) {
        const rank = Math.min(chosen.channel, row.channels.length - 1), channel = row.channels[rank];
        const canvas = element("canvas"), voxels = decode(channel, volume);
        const share = (100 * channel.stored / volume).toPrecision(3).replace(/\.?0+$/, "");
        const cut = channel.shown < channel.stored ? `, ${channel.shown.toLocaleString("en")} shown` : "";
        const what = `${channel.stored.toLocaleString("en")} of ${volume.toLocaleString("en")} (${share}\u00a0%)${cut}`;
        const of = `channel ${channel.channel} of ${layer.channels}`;
        card.append(canvas);
        if (space) {
          space.add(canvas, layer.shape, voxels);
          canvas.setAttribute("aria-label", `${layer.name}, ${of}: ${what}. Arrow keys rotate.`);
        } else {
          flat(canvas, layer.shape, voxels);
          canvas.setAttribute("aria-label", `${layer.name}, ${row.title} ${of}: ${what}`);
        }
        canvas.setAttribute("role", "img");
        card.append(element("p", row.title ? `${row.title}: ${what}` : what));
        if (row === layer.rows[layer.rows.length - 1])
          card.append(element("p", `${layer.shape.join(" x ")}, ${of}, largest ${layer.peak}`));
      }
      layers.append(card);
    }
    if (space) space.draw();
  }

  const controls = element("div", undefined, "controls");
  controls.append(choice("Image", data.samples.map((sample) => sample.title), (n) => { chosen.sample = n; show(); }));
  const most = Math.max(...data.samples[0].layers.flatMap((layer) => layer.rows.map((row) => row.channels.length)));
  const ranks = Array.from({ length: most }, (_, rank) => (rank ? `number ${rank + 1} by its sum` : "the largest sum"));
  controls.append(choice("Channel of each layer", ranks, (n) => { chosen.channel = n; show(); }));
  if (space) {
    const reset = element("button", "Turn back");
    reset.type = "button";
    reset.addEventListener("click", () => space.reset());
    controls.append(reset);
  }
  controls.append(scale());
  place.append(controls, layers);
  show();
})();
