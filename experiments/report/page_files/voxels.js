// Cubes on a plain canvas, in parallel projection. Equal cubes of a grid hide one another exactly when they are painted
// from the far corner to the near one, axis by axis: no depth buffer, no WebGL, and it prints.
window.voxelSpace = (palette) => {
  "use strict";
  const START = { azimuth: 0.6, elevation: 0.45 };
  const view = { ...START };
  let scenes = [];
  let pending = false;

  // The faces' shades: of the first, second, last axis.
  const SHADES = [0.72, 0.86, 1];
  const shaded = SHADES.map((shade) => palette.map((colour) => `rgb(${colour.map((part) => Math.round(part * shade))})`));

  function prepare(shape, voxels) {
    const [, rows, columns] = shape, count = voxels.keys.length;
    const at = new Int32Array(3 * count), held = new Set(voxels.keys);
    const hidden = new Uint8Array(count); // bit 2 * axis + (1 where ascending): a neighbour covers this face
    const steps = [rows * columns, columns, 1];
    voxels.keys.forEach((key, index) => {
      const place = [Math.floor(key / steps[0]), Math.floor(key / columns) % rows, key % columns];
      at.set(place, 3 * index);
      for (let axis = 0; axis < 3; axis++) {
        if (place[axis] > 0 && held.has(key - steps[axis])) hidden[index] |= 1 << (2 * axis);
        if (place[axis] + 1 < shape[axis] && held.has(key + steps[axis])) hidden[index] |= 2 << (2 * axis);
      }
    });
    return { shape, at, hidden, levels: voxels.levels, orders: new Map() };
  }

  // Keys ascend, so that for axes that all point towards the eye the order is there; for the others it is sorted once.
  function order(scene, towards) {
    const name = towards.join();
    if (!scene.orders.has(name)) {
      const { at } = scene;
      const list = Array.from(scene.levels, (_, index) => index);
      list.sort((a, b) => {
        for (let axis = 0; axis < 3; axis++) {
          const difference = at[3 * a + axis] - at[3 * b + axis];
          if (difference) return towards[axis] ? difference : -difference;
        }
        return 0;
      });
      scene.orders.set(name, list);
    }
    return scene.orders.get(name);
  }

  function draw(scene) {
    const { canvas, shape, at, hidden, levels } = scene;
    const ratio = Math.min(window.devicePixelRatio || 1, 2), size = Math.round(canvas.clientWidth * ratio);
    if (!size) return;
    if (canvas.width !== size) canvas.width = canvas.height = size;
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, size, size);
    const [sa, ca, se, ce] = [Math.sin(view.azimuth), Math.cos(view.azimuth), Math.sin(view.elevation), Math.cos(view.elevation)];
    const unit = (0.96 * size) / Math.hypot(...shape);
    // Where one voxel's step along an axis goes on the screen, and whether the axis points towards the eye.
    const dx = [-sa * unit, ca * unit, 0];
    const dy = [ca * se * unit, sa * se * unit, -ce * unit];
    const towards = [ca * ce > 0, sa * ce > 0, se > 0];
    const origin = [0, 1].map((part) => size / 2 - [dx, dy][part].reduce((sum, step, axis) => sum + (step * shape[axis]) / 2, 0));
    const screen = (i, j, k) => [origin[0] + i * dx[0] + j * dx[1] + k * dx[2], origin[1] + i * dy[0] + j * dy[1] + k * dy[2]];

    box(context, shape, screen, towards, ratio, false);
    context.lineWidth = ratio;
    for (const index of order(scene, towards)) {
      const i = at[3 * index], j = at[3 * index + 1], k = at[3 * index + 2];
      const [x, y] = screen(i, j, k);
      for (let axis = 0; axis < 3; axis++) {
        const near = towards[axis] ? 1 : 0;
        if (hidden[index] & ((near ? 2 : 1) << (2 * axis))) continue;
        const one = (axis + 1) % 3, two = (axis + 2) % 3;
        const left = x + near * dx[axis], top = y + near * dy[axis];
        context.fillStyle = context.strokeStyle = shaded[axis][levels[index]];
        context.beginPath();
        context.moveTo(left, top);
        context.lineTo(left + dx[one], top + dy[one]);
        context.lineTo(left + dx[one] + dx[two], top + dy[one] + dy[two]);
        context.lineTo(left + dx[two], top + dy[two]);
        context.closePath();
        context.fill();
        context.stroke(); // closes the seams between faces
      }
    }
    box(context, shape, screen, towards, ratio, true);
    canvas.dataset.azimuth = view.azimuth.toFixed(4);
    canvas.dataset.elevation = view.elevation.toFixed(4);
  }

  // The edges of the volume: those behind the voxels, or the three in front of them, fainter.
  function box(context, shape, screen, towards, ratio, front) {
    context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--soft").trim();
    context.globalAlpha = front ? 0.25 : 0.6;
    context.lineWidth = ratio;
    context.beginPath();
    for (let axis = 0; axis < 3; axis++)
      for (const a of [0, 1])
        for (const b of [0, 1]) {
          const one = (axis + 1) % 3, two = (axis + 2) % 3;
          const near = (a === 1) === towards[one] && (b === 1) === towards[two];
          if (near !== front) continue;
          const from = [0, 0, 0];
          from[one] = a * shape[one];
          from[two] = b * shape[two];
          const to = [...from];
          to[axis] = shape[axis];
          context.moveTo(...screen(...from));
          context.lineTo(...screen(...to));
        }
    context.stroke();
    context.globalAlpha = 1;
  }

  function drawAll() {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => { pending = false; scenes.forEach(draw); });
  }

  function turn(right, down) {
    view.azimuth -= right;
    view.elevation = Math.max(-1.5, Math.min(1.5, view.elevation + down));
    drawAll();
  }

  const KEYS = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] };

  function listen(canvas) {
    canvas.className = "turns";
    canvas.tabIndex = 0;
    let last = null;
    canvas.addEventListener("pointerdown", (event) => { last = [event.clientX, event.clientY]; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      turn((event.clientX - last[0]) / 100, (event.clientY - last[1]) / 100);
      last = [event.clientX, event.clientY];
    });
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => { last = null; });
    canvas.addEventListener("keydown", (event) => {
      if (!KEYS[event.key]) return;
      event.preventDefault();
      turn(...KEYS[event.key]);
    });
  }

  new ResizeObserver(drawAll).observe(document.documentElement);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  window.matchMedia("print").addEventListener("change", () => scenes.forEach(draw));

  return {
    clear() { scenes = []; },
    add(canvas, shape, voxels) { listen(canvas); scenes.push({ canvas, ...prepare(shape, voxels) }); },
    draw: drawAll,
    reset() { Object.assign(view, START); drawAll(); },
  };
};
