"""The page for everybody: the keyboard alone, phones, contrast in light and dark, names for all controls."""

import pytest

# Every visible text with the contrast of its colour against what is behind it, by WCAG's formula.
CONTRASTS = """() => {
  const channel = (value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [0.2126, 0.7152, 0.0722]
    .reduce((sum, weight, at) => sum + weight * channel([r, g, b][at] / 255), 0);
  const behind = (element) => {
    for (let node = element; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const contrasts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const [text, element] = [walker.currentNode.data.trim(), walker.currentNode.parentElement];
    if (!text || !element.checkVisibility() || element.closest("noscript, script")) continue;
    const own = luminance(parse(getComputedStyle(element).color));
    const bar = element.parentElement.querySelector(":scope > .bar");
    for (const back of [behind(element), ...(bar ? [parse(getComputedStyle(bar).backgroundColor)] : [])]) {
      const [dark, light] = [own, luminance(back)].sort((a, b) => a - b);
      contrasts.push([text, (light + 0.05) / (dark + 0.05)]);
    }
  }
  return contrasts;
}"""
# What has the focus: its name, and whether something around it shows that.
FOCUS = """() => {
  const focused = document.activeElement;
  const rings = [focused, focused.nextElementSibling].filter(Boolean).map((one) => getComputedStyle(one));
  return {
    id: focused.id, tag: focused.tagName, type: focused.type ?? "",
    shown: rings.some((style) => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2),
  };
}"""


def expect(locator):
    from playwright.sync_api import expect

    return expect(locator)


def test_everything_can_be_done_by_keyboard(page):
    stops = []

    def tab():
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        assert focus["shown"], focus
        stops.append(focus["id"] or focus["type"])
        return focus

    tab()  # the images: one stop, arrows move in it
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="image 2 of the data")).to_be_checked()
    while tab()["id"] != "question":
        pass
    page.keyboard.press("Control+A")
    page.keyboard.type("is the red object on the left?")
    page.keyboard.press("Enter")
    han = page.locator(".panel").first
    expect(han.locator(".kept")).to_have_text("7 of 25 cells kept")
    while tab()["type"] != "range":
        pass
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(han.locator(".kept")).to_have_text("9 of 25 cells kept")
    tab()
    page.keyboard.press("Enter")  # reset
    expect(han.locator(".kept")).to_have_text("7 of 25 cells kept")
    assert page.evaluate(FOCUS)["type"] == "range"  # the focus is not lost
    tab()  # runs
    page.keyboard.press("ArrowDown")
    expect(page.locator(".panel h2")).to_have_text("adahan")
    assert tab()["id"] == "compare"
    page.keyboard.press("Space")
    expect(page.locator(".panel")).to_have_count(3)
    tab()  # what is over the image
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="presence")).to_be_checked()
    assert "file" in stops
    assert "ask" in stops


def test_a_phone(visit):
    page = visit(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    # A word that is wider than the screen, in everything that repeats it.
    page.get_by_label("Question", exact=True).fill("is the " + "z" * 200 + " red?")
    page.get_by_role("button", name="Ask", exact=True).tap()
    expect(page.locator(".kept")).to_have_text("7 of 25 cells kept")
    page.get_by_label("side by side").check()
    expect(page.locator(".panel")).to_have_count(3)
    for element in page.locator(".answer").all():
        expect(element).not_to_be_empty()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for panel in page.locator(".panel").all():
        box = panel.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
    # Fingers need some room.
    for name in ("Ask", "reset"):
        assert page.get_by_role("button", name=name, exact=True).first.bounding_box()["height"] >= 30


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(visit, scheme):
    page = visit(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": b"no image"})
    expect(page.locator("#problem")).not_to_be_empty()
    before = page.evaluate(CONTRASTS)
    assert any("not an image" in text for text, _ in before)
    question = page.locator("#questions button").first
    question.click()
    expect(page.locator(".kept")).to_have_text("7 of 25 cells kept")
    contrasts = [*before, *page.evaluate(CONTRASTS)]
    assert len(contrasts) > 60
    assert [text for text, contrast in contrasts if contrast < 4.5] == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(243, 244, 246)") == (scheme == "light")


def test_every_control_has_a_name_and_the_answer_is_told(page):
    tree = page.locator("body").aria_snapshot()
    for line in tree.splitlines():
        kind, _, rest = line.strip().removeprefix("- ").partition(" ")
        if kind.rstrip(":") in ("button", "checkbox", "radio", "slider", "textbox", "img"):
            assert rest.startswith('"'), line
    status = page.get_by_role("status").first
    assert status.get_attribute("aria-live") == "polite"
    page.locator("#questions button").first.click()
    expect(status).to_contain_text("7 of 25 cells kept")
    expect(status).to_contain_text(page.locator(".bars li span").nth(1).inner_text())
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator("h1").count() == 1
