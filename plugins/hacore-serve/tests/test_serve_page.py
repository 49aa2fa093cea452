"""The page in a real browser, as a person uses it: Chromium without a window, driven by Playwright."""

import numpy as np
import pytest

playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs Playwright: pip install -e 'plugins/hacore-serve[test]'"
)

# (dark, bright) pixels of a panel's canvas, in thousandths, of an image that was white.
SHADES = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let dark = 0, bright = 0;
  for (let at = 0; at < data.length; at += 4) {
    if (Math.abs(data[at] - 77) < 3 && data[at] === data[at + 2]) dark += 1;
    if (data[at] > 250 && data[at + 2] > 250) bright += 1;
  }
  return [dark, bright].map(sum => Math.round(4000 * sum / data.length));
}"""

# A file of these bytes, or of so many zeros, is pasted or dropped.
PUT = """([kind, bytes]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], `${kind}.png`, { type: "image/png" }));
  const event = kind === "paste" ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true })
    : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}"""


@pytest.fixture(scope="module")
def white(as_file):
    """A file whose pixels say what was drawn over them."""
    data = as_file(np.full((75, 75, 3), 255, np.uint8))
    return {"name": "white.png", "mimeType": "image/png", "buffer": data}


def panel(page, name):
    return page.locator(".panel", has=page.get_by_role("heading", name=name, exact=True))


def ask(page, question):
    page.get_by_label("Question", exact=True).fill(question)
    page.get_by_role("button", name="Ask", exact=True).click()


def kept(page, name, count):
    """The panel, once it says that so many cells were kept."""
    shown = panel(page, name)
    playwright.expect(shown.locator(".kept")).to_have_text(f"{count} of 25 cells kept")
    return shown


def test_an_image_is_uploaded_and_a_question_answered(page, white, models, as_file):
    page.set_input_files("#file", white)
    page.locator("#thumbs .own input:checked").wait_for(state="attached")
    assert page.locator("canvas").first.evaluate(SHADES) == [0, 1000]
    ask(page, "is the zebra on the left?")
    han = kept(page, "han", 7)
    reply = models["han"].ask(np.full((75, 75, 3), 255, np.uint8), "is the zebra on the left?")
    assert han.locator(".answer").inner_text().startswith(reply.answer)
    rows = han.locator(".bars li").all_inner_texts()
    assert [row.split()[0] for row in rows] == [answer.answer for answer in reply.answers]
    assert [float(row.split()[1][:-1]) for row in rows] == pytest.approx(
        [100 * answer.probability for answer in reply.answers], abs=0.06
    )
    assert han.locator(".unknown").inner_text() == "Words the model never saw: zebra"
    # Cells at the border of the image are halves and quarters of the others, 1/16 of it.
    shares = [
        (0.5 if cell.row in (0, 4) else 1) * (0.5 if cell.column in (0, 4) else 1) for cell in reply.kept
    ]
    dark, bright = han.locator("canvas").evaluate(SHADES)
    assert bright == pytest.approx(1000 * sum(shares) / 16, abs=30)
    assert dark == pytest.approx(1000 - 1000 * sum(shares) / 16, abs=30)
    assert f"{len(reply.kept)} kept cells bright: row {reply.kept[0].row + 1}" in han.locator(
        "canvas"
    ).get_attribute("aria-label")

    page.get_by_text("presence", exact=True).click()
    assert han.locator("canvas").evaluate(SHADES) == [0, 0]
    page.get_by_text("nothing", exact=True).click()
    assert han.locator("canvas").evaluate(SHADES) == [0, 1000]


def test_the_slider_changes_cells_and_answer(page, white):
    page.set_input_files("#file", white)
    page.locator("#thumbs .own input:checked").wait_for(state="attached")
    ask(page, "is the red object on the left?")
    han = kept(page, "han", 7)
    slider = han.get_by_role("slider", name="cells to keep")
    before = han.locator("canvas").evaluate(SHADES)
    slider.fill("20")
    kept(page, "han", 20)
    assert han.locator("output").inner_text() == "20, trained with 7"
    assert han.locator("canvas").evaluate(SHADES)[1] > before[1] + 100
    han.get_by_role("button", name="reset").click()
    kept(page, "han", 7)
    assert han.locator("canvas").evaluate(SHADES) == before


def test_only_the_answer_to_the_last_move_is_shown(page):
    ask(page, "is the red object on the left?")
    han = kept(page, "han", 7)
    late = []

    def hold(route):
        if route.request.post_data_json["value"] == 3:
            late.append(route)
        else:
            route.continue_()

    page.route("**/api/ask", hold)
    slider = han.get_by_role("slider")
    slider.fill("3")
    page.wait_for_timeout(300)
    assert len(late) == 1
    slider.fill("11")
    kept(page, "han", 11)
    late[0].continue_()
    page.wait_for_timeout(300)
    kept(page, "han", 11)


def test_runs_are_switched_and_compared(page):
    ask(page, "is the red object on the left?")
    kept(page, "han", 7)
    page.get_by_role("radio", name="san").check()
    han = kept(page, "san", 25)
    assert page.locator(".panel").count() == 1
    assert not han.get_by_role("slider").is_visible()
    page.get_by_role("radio", name="adahan").check()
    threshold = panel(page, "adahan").get_by_role("slider", name="threshold")
    playwright.expect(panel(page, "adahan").locator(".answer")).not_to_be_empty()
    assert threshold.get_attribute("aria-valuetext") == "1, as trained"
    threshold.press("Home")
    kept(page, "adahan", 25)
    threshold.press("End")
    kept(page, "adahan", 1)
    page.get_by_label("side by side").check()
    kept(page, "han", 7)
    kept(page, "adahan", 1)  # as it was left
    kept(page, "san", 25)
    tops = {round(each.bounding_box()["y"]) for each in page.locator(".panel").all()}
    assert len(tops) == 1  # beside each other
    page.get_by_role("checkbox", name="san").uncheck()
    assert page.locator(".panel").count() == 2
    about = panel(page, "han").locator(".about").inner_text()
    assert about.startswith("l2-topk (k = 7), sum-pool; ")
    assert about.endswith("% right on test")


def test_examples_of_the_data(page, models):
    dataset_says = page.evaluate("fetch('api/info').then(response => response.json())")["examples"]
    first = dataset_says[0]["questions"][0]
    assert page.get_by_label("Question", exact=True).input_value() == first["question"]
    page.get_by_role("button", name=first["question"]).click()
    answer = kept(page, "han", 7).locator(".answer").inner_text()
    right = answer.split()[0] == first["answer"]
    assert ("as the data say" if right else f"the data say {first['answer']}") in answer
    with page.expect_response("**/api/ask") as again:  # it is asked about the other image at once
        page.get_by_role("radio", name="image 2 of the data").check()
    assert again.value.request.post_data_json["example"] == 1
    offered = page.locator("#questions button").all_inner_texts()
    assert offered == [entry["question"] for entry in dataset_says[1]["questions"]]


def test_the_first_example_is_answered_when_the_page_opens(page):
    first, second, *_ = page.evaluate("fetch('api/info').then(response => response.json())")["examples"]
    answer = kept(page, "han", 7).locator(".answer")
    playwright.expect(answer).to_contain_text("data say")
    assert page.get_by_label("Question", exact=True).input_value() == first["questions"][0]["question"]
    assert page.locator("canvas").first.get_attribute("aria-label").startswith("The image with 7 kept cells")
    with page.expect_request("**/api/ask") as asked:  # nobody chose a question, so it is that image's own
        page.get_by_role("radio", name="image 2 of the data").check()
    assert asked.value.post_data_json["question"] == second["questions"][0]["question"]


def test_an_own_image_waits_for_a_question(page, white):
    kept(page, "han", 7)
    page.set_input_files("#file", white)
    page.locator("#thumbs .own input:checked").wait_for(state="attached")
    playwright.expect(panel(page, "han").locator(".answer")).to_be_empty()
    page.wait_for_timeout(300)
    assert panel(page, "han").locator(".answer").inner_text() == ""


def test_opening_on_a_phone_stays_at_the_top(visit):
    page = visit(viewport={"width": 390, "height": 700}, is_mobile=True, has_touch=True)
    kept(page, "han", 7)
    assert page.evaluate("scrollY") == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_what_goes_wrong_is_said_and_the_page_goes_on(page, white):
    page.set_input_files("#file", {**white, "buffer": b"notes, and no image"})
    problem = page.locator("#problem")
    playwright.expect(problem).to_contain_text("The file is not an image")
    page.evaluate(PUT, ["drop", 10_000_001])
    playwright.expect(problem).to_contain_text("The file has 10.0 MB; at most 10 MB are taken.")
    ask(page, "")
    playwright.expect(problem).to_have_text("Type a question first.")
    ask(page, "word " * 200)
    playwright.expect(problem).to_contain_text("at most 500 are taken")
    ask(page, "...")
    playwright.expect(panel(page, "han").locator(".problem")).to_have_text("The question '...' has no words")
    page.route("**/api/ask", lambda route: route.abort())
    ask(page, "is it red?")
    playwright.expect(panel(page, "han").locator(".problem")).to_contain_text("The server cannot be reached")
    page.unroute("**/api/ask")
    ask(page, "<img src=x onerror=alert(1)>")
    assert "<img" not in kept(page, "han", 7).inner_html()
    playwright.expect(problem).to_be_empty()


def test_a_busy_server_is_asked_again(page):
    tried = []

    def busy_once(route):
        tried.append(route)
        if len(tried) == 1:
            route.fulfill(status=429, headers={"retry-after": "1"}, json={"error": "too many requests"})
        else:
            route.continue_()

    page.route("**/api/ask", busy_once)
    with page.expect_response(lambda response: response.url.endswith("/api/ask") and response.ok):
        ask(page, "is it red?")
    kept(page, "han", 7)
    for _ in range(200):  # the answer above may be to the first example
        if len(tried) == 2:
            break
        page.wait_for_timeout(50)
    assert len(tried) == 2


def test_paste_and_drop(page, white):
    for kind in ("paste", "drop"):
        page.evaluate(PUT, [kind, list(white["buffer"])])
        page.get_by_role("radio", name=f"your image, {kind}.png").wait_for(state="attached")
        assert page.locator("canvas").first.evaluate(SHADES) == [0, 1000]
