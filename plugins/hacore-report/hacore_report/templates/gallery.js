(function () {
  const form = document.getElementById("filters");
  if (!form) return;
  const type = document.getElementById("by-type"), state = document.getElementById("by-state");
  const cards = Array.from(document.querySelectorAll(".card"));
  function show() {
    let shown = 0;
    for (const card of cards) {
      const fits = (!type.value || card.dataset.type === type.value)
        && (!state.value || card.dataset.state === state.value);
      card.hidden = !fits;
      shown += fits;
    }
    document.getElementById("count").textContent = shown + (shown === 1 ? " question" : " questions");
  }
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  show();  // a browser may have kept what was chosen before the page was loaded again
})();
