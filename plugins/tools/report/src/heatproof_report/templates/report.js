"use strict";
for (const control of document.querySelectorAll("[data-moves]")) {
  const figure = control.closest("figure");
  const layers = figure.querySelectorAll('[data-layer="' + control.dataset.moves + '"]');
  const percentage = control.parentElement.querySelector("output");
  const apply = () => {
    const opacity = control.type === "checkbox" ? Number(control.checked) : control.value / 100;
    for (const layer of layers) layer.style.opacity = opacity;
    if (percentage) percentage.textContent = Math.round(100 * opacity) + " %";
  };
  control.addEventListener("input", apply);
  apply();
}
