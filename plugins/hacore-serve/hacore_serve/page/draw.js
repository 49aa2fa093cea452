// Pictures on a canvas: the image, and over it what a model made of its cells.

const DARK = 0.3; // brightness of a cell that was not kept, as in hacore's reports
const LONGER_SIDE = 640;
// From the weakest presence to the strongest, dark blue to yellow.
const RAMP = [[20, 30, 90], [30, 95, 150], [40, 155, 135], [140, 200, 80], [250, 230, 60]];

/** Draw `picture` and, where there is a reply, its cells or their presence. */
export function draw(canvas, picture, reply, view) {
  const scale = LONGER_SIDE / Math.max(picture.width, picture.height);
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  if (!reply || view === "none") return;
  const places = cells(reply.grid, canvas);
  if (view === "cells") {
    for (const { row, column, box } of places) {
      const dark = (1 - DARK) * (1 - reply.brightness[row][column]);
      pen.fillStyle = `rgb(0 0 0 / ${dark})`;
      pen.fillRect(...box);
    }
    outline(pen, reply, places);
  } else {
    const values = reply.presence.flat();
    const low = Math.min(...values), span = Math.max(...values) - low || 1;
    for (const { row, column, box } of places) {
      pen.fillStyle = colour((reply.presence[row][column] - low) / span);
      pen.fillRect(...box);
    }
  }
}

/** Whole pixels, so that neighbours neither overlap nor leave a gap. The outer cells lie on the border. */
function cells([rows, columns], { width, height }) {
  const edge = (index, count, length) =>
    index <= 0 ? 0 : index >= count ? length : Math.round(((index - 0.5) / (count - 1)) * length);
  const places = [];
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const [x, y] = [edge(column, columns, width), edge(row, rows, height)];
      const box = [x, y, edge(column + 1, columns, width) - x, edge(row + 1, rows, height) - y];
      places.push({ row, column, box });
    }
  }
  return places;
}

/** A line around what was kept, which shows on dark images too; none where cells are only weighed. */
function outline(pen, reply, places) {
  const kept = (row, column) => (reply.brightness[row]?.[column] ?? 0) > 0;
  if (places.every(({ row, column }) => kept(row, column))) return;
  pen.beginPath();
  for (const { row, column, box: [x, y, wide, high] } of places) {
    if (!kept(row, column)) continue;
    if (!kept(row - 1, column)) { pen.moveTo(x, y); pen.lineTo(x + wide, y); }
    if (!kept(row + 1, column)) { pen.moveTo(x, y + high); pen.lineTo(x + wide, y + high); }
    if (!kept(row, column - 1)) { pen.moveTo(x, y); pen.lineTo(x, y + high); }
    if (!kept(row, column + 1)) { pen.moveTo(x + wide, y); pen.lineTo(x + wide, y + high); }
  }
  pen.lineWidth = 4;
  pen.strokeStyle = "rgb(0 0 0 / 0.6)";
  pen.stroke();
  pen.lineWidth = 2;
  pen.strokeStyle = "#ffd166";
  pen.stroke();
}

function colour(share) {
  const place = share * (RAMP.length - 1);
  const before = Math.min(Math.floor(place), RAMP.length - 2);
  const [r, g, b] = RAMP[before].map((from, part) => from + (place - before) * (RAMP[before + 1][part] - from));
  return `rgb(${Math.round(r)} ${Math.round(g)} ${Math.round(b)} / 0.75)`;
}
