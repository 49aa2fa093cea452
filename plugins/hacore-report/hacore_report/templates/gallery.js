(function () {
  const list = document.getElementById("cards"), rest = document.getElementById("rest");
  if (!list) return;
  const find = (id) => document.getElementById(id);
  const step = Math.ceil(list.children.length / (matchMedia("(max-width: 44rem)").matches ? 2 : 1));
  const type = find("by-type"), state = find("by-state"), more = find("more");
  const [some, all] = more.children;
  if (rest) {
    list.append(...rest.querySelectorAll(".card"));
    rest.remove();
  }
  const cards = Array.from(list.children);
  let most = step;
  function show() {
    const option = type.selectedOptions[0];
    const types = "group" in option.dataset ? JSON.parse(option.value) : [option.value];
    const fitting = cards.filter((card) => (!option.value || types.includes(card.dataset.type))
      && (!state.value || card.dataset.state === state.value));
    const shown = new Set(fitting.slice(0, most)), left = fitting.length - shown.size;
    for (const card of cards) card.hidden = !shown.has(card);
    find("count").textContent = (left ? `${shown.size} of ` : "")
      + `${fitting.length} ${fitting.length === 1 ? "question" : "questions"}`;
    more.hidden = !left;
    some.textContent = `Show ${Math.min(2 * step, left)} more`;
    all.textContent = `Show all ${fitting.length}`;
    all.hidden = left <= 2 * step;
  }
  function unfold(count) {
    most = count;
    show();
  }
  some.addEventListener("click", () => unfold(most + 2 * step));
  all.addEventListener("click", () => unfold(Infinity));
  find("filters").addEventListener("change", () => unfold(step));
  find("filters").addEventListener("submit", (event) => event.preventDefault());
  show();  // a browser may have kept what was chosen before the page was loaded again
})();
