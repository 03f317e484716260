"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const PALETTE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#8c8c8c"];
  const SHAPES = ["circle", "square", "triangle", "diamond"];
  const SIDE = 1000, MARGIN = 40, SIZE = 9;

  const element = (name, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  };

  const path = (shape, x, y, size) => ({
    square: `M${x - size},${y - size}h${2 * size}v${2 * size}h${-2 * size}z`,
    triangle: `M${x},${y - 1.2 * size}l${1.2 * size},${2.1 * size}h${-2.4 * size}z`,
    diamond: `M${x},${y - 1.35 * size}l${1.35 * size},${1.35 * size}l${-1.35 * size},${1.35 * size}l${-1.35 * size},${-1.35 * size}z`,
    circle: `M${x - size},${y}a${size},${size} 0 1,0 ${2 * size},0a${size},${size} 0 1,0 ${-2 * size},0z`,
  })[shape];

  // Colour and shape together: colour is never the only difference.
  const styles = (values) => {
    const counts = new Map();
    for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
    const names = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a) || (a < b ? -1 : 1));
    return new Map(names.map((name, index) => [name, {
      count: counts.get(name), fill: PALETTE[Math.min(index, PALETTE.length - 1)], shape: SHAPES[index % SHAPES.length],
    }]));
  };

  const text = (tag, content) => {
    const node = document.createElement(tag);
    node.textContent = content;
    return node;
  };

  const start = (box) => {
    const plane = data.planes[box.dataset.plane];
    const svg = box.querySelector("svg"), select = box.querySelector("select");
    const legend = box.querySelector(".legend"), panel = box.querySelector(".case");
    const places = plane.positions.map(([x, y]) => [MARGIN + x * (SIDE - 2 * MARGIN), SIDE - MARGIN - y * (SIDE - 2 * MARGIN)]);
    const ring = element("circle", { class: "ring", r: 1.9 * SIZE, visibility: "hidden" });
    let current = -1;

    const draw = () => {
      const values = plane.rows.map((row) => data.cases[row][select.value]);
      const style = styles(values);
      svg.replaceChildren(...places.map(([x, y], index) => {
        const { fill, shape } = style.get(values[index]);
        const node = element("path", { class: "point", d: path(shape, x, y, SIZE), fill });
        node.dataset.index = index;
        return node;
      }), ring);
      legend.replaceChildren(...[...style].map(([name, { count, fill, shape }]) => {
        const item = document.createElement("li"), mark = element("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" });
        mark.append(element("path", { d: path(shape, 12, 12, SIZE), fill }));
        item.append(mark, ` ${name} (${count})`);
        return item;
      }));
    };

    const show = (index) => {
      current = index;
      const row = plane.rows[index], one = data.cases[row], [x, y] = places[index];
      ring.setAttribute("cx", x); ring.setAttribute("cy", y); ring.setAttribute("visibility", "visible");
      const images = (data.pictures[row] || []).map((uri, position) => {
        if (!uri) return null;
        const image = document.createElement("img");
        image.src = uri;
        image.alt = position ? `heatmap of ${one.decision} on ${one.id}` : `picture ${one.id}`;
        return image;
      }).filter(Boolean);
      const list = document.createElement("dl");
      for (const [name, value] of [["case", one.id], ["label", one.label], ["decision", `${one.decision} (largest probability ${one.probability})`], ["split", one.split], ["error", one.wrong]])
        list.append(text("dt", name), text("dd", value));
      panel.replaceChildren(...images, list);
      if (!images.length) panel.append(text("p", "The picture of this case is not on the page; pictures: in the config has more."));
    };

    const nearest = (from, dx, dy) => {
      let best = -1, least = Infinity;
      places.forEach(([x, y], index) => {
        const along = (x - from[0]) * dx + (y - from[1]) * dy, across = Math.abs((x - from[0]) * dy) + Math.abs((y - from[1]) * dx);
        if (index === current || along <= 0 || across > along) return;
        const distance = along + across;
        if (distance < least) { least = distance; best = index; }
      });
      return best;
    };

    const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    svg.addEventListener("keydown", (event) => {
      const move = MOVES[event.key];
      if (!move) return;
      event.preventDefault();
      const next = current < 0 ? 0 : nearest(places[current], ...move);
      if (next >= 0) show(next);
    });
    const pointed = (event) => { const index = event.target.dataset && event.target.dataset.index; if (index !== undefined) show(Number(index)); };
    svg.addEventListener("pointerover", pointed);
    svg.addEventListener("click", pointed);
    select.addEventListener("change", draw);
    draw();
  };

  document.querySelectorAll("[data-plane]").forEach(start);
})();
