"""The page about a run, and the page that compares runs."""

import html.parser
import json
import re
import shutil
import statistics
import subprocess

import pytest

import hacore
from hacore.errors import HacoreError, RunError


class Page(html.parser.HTMLParser):
    """What a test asks of a page: tags with their attributes, and the text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if "style" not in self.open[-1:] and "script" not in self.open[-1:]:
            self.words.append(data)

    def all(self, tag, **wanted):
        return [
            attributes
            for name, attributes in self.tags
            if name == tag and all(attributes.get(key.rstrip("_")) == value for key, value in wanted.items())
        ]

    def check(self):
        """It fetches nothing, names pictures, and ids and references agree."""
        for _, attributes in self.tags:
            for key in ("src", "href"):
                assert attributes.get(key, "#").startswith(("#", "data:")), attributes
        assert "url(" not in self.source
        assert "@import" not in self.source
        ids = [attributes["id"] for _, attributes in self.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        assert {tag["href"][1:] for _, tag in self.tags if tag.get("href", "")[:1] == "#"} <= set(ids)
        assert all(image["alt"] for image in self.all("img"))
        assert all(svg["aria-label"] for svg in self.all("svg") if "role" in svg)
        return self


def test_every_run_writes_a_page_about_itself(runs):
    for name, folder in runs.items():
        result = folder.result()
        page = Page(folder.report_file).check()
        assert f"{100 * result.accuracy:.1f}% of 100 questions right" in page.text
        assert f"{result.parameters:,}" in page.text
        assert f"{result.multiply_adds:,}" in page.text
        assert f"Majority answer: {100 * result.baselines['majority'].accuracy:.1f}%" in page.text
        assert folder.spec_file.read_text().splitlines()[0] in page.source.replace("&#34;", '"')
        for kind, part in result.by_type.items():
            assert re.search(rf" {kind} {part.questions} {100 * part.accuracy:.1f} ", page.text)
        kept_differ = name == "adahan"
        assert ("Distribution of the number of kept cells" in page.source) == kept_differ
        assert page.all("option") != []
        assert len(page.all("img")) == 2 * (1 + kept_differ + (name != "san"))


def test_what_was_looked_at_comes_first_and_the_contents_name_every_section(runs):
    expected = {"gallery", "types", "confusions", "model", "training", "spec"}
    more = {"han": {"choice"}, "adahan": {"kept", "choice"}, "san": set()}  # soft attention drops nothing
    for name, folder in runs.items():
        page = Page(folder.report_file).check()
        sections = [section["id"] for section in page.all("section")]
        assert sections[:2] == ["gallery", "types"]
        assert {*sections} == expected | more[name]
        links = re.findall(r'<li><a href="#(\w+)">(.*?)</a>', page.source)
        assert [id for id, _ in links] == sections
        assert [name for _, name in links] == re.findall(r"<h2 .*?>(.*?)</h2>", page.source)


def test_the_head_says_when_and_what(runs):
    folder = runs["han"]
    day, time = folder.path.name[:8], folder.path.name[9:13]
    text = Page(folder.report_file).text
    assert f"Run of {day[:4]}-{day[4:6]}-{day[6:]} {time[:2]}:{time[2:]}, seed 0." in text
    assert f"small-cnn, lstm, multiply, l2-topk, rn, MLP; {folder.result().parameters:,} parameters" in text


def test_types_of_question_follow_their_group(runs):
    text = Page(runs["han"].report_file).text
    names = ["non-relational", "left", "shape", "top", "relational", "closest", "count", "furthest", "all"]
    table = text[text.index("accuracy (%)") :]
    places = [re.search(rf" {name} \d+ \d", table).start() for name in names]
    assert places == sorted(places)


def test_few_examples_are_shown_at_first_and_all_can_be_unfolded(runs):
    source = runs["han"].report_file.read_text()
    first, folded = source.split('<details id="rest">')
    cards = [
        re.findall(r'class="card" .*?data-type="(\w+)" data-state="(\w+)"', part) for part in (first, folded)
    ]
    assert len(cards[0]) == 12
    assert len({kind for kind, _ in cards[0]}) == 6  # of every type, and not the right ones alone
    assert {state for _, state in cards[0]} == {"right", "wrong"}
    assert f"<summary>{len(cards[1])} more questions</summary>" in source


def test_the_gallery_shows_questions_as_they_were_answered(runs):
    folder = runs["han"]
    lines = folder.predictions_file("test").read_text().splitlines()
    predictions = {line["id"]: line for line in map(json.loads, lines)}
    source = folder.report_file.read_text()
    cards = re.findall(
        r'<li class="card" .*?data-type="(\w+)" data-state="(\w+)">(.*?)question (\d+)</p>', source, re.S
    )
    assert len(cards) == min(len(cards), 96) > 20
    assert {state for _, state, _, _ in cards} == {"right", "wrong"}
    for kind, state, body, number in cards:
        line = predictions[int(number)]
        assert (kind, state) == (line["type"], "right" if line["score"] == 1 else "wrong")
        assert re.search(rf"{state}:</span> {line['prediction']}", body)
        assert (f"(right: {line['answer']})" in body) == (state == "wrong")
        assert "7 of 25 cells kept" in body


def test_runs_side_by_side(runs, cli, tmp_path):
    output = tmp_path / "all.html"
    ran = cli("report", *(folder.path for folder in runs.values()), "--output", output)
    assert (ran.status, ran.out) == (0, f"wrote {output}\n")
    page = Page(output).check()
    for name, folder in runs.items():
        result = folder.result()
        assert f" {name} {100 * result.accuracy:.1f} " in page.text
        assert f"{result.multiply_adds:,} {result.parameters:,}" in page.text
    best = max(folder.result().accuracy for folder in runs.values())
    assert re.search(rf"<td[^>]*><b>{100 * best:.1f}</b>\*", page.source)
    assert "* the best, or not significantly different from the best" in page.text
    cards = re.findall(r'<li class="card" .*?data-state="([\w ]+)">(.*?)question \d+</p>', page.source, re.S)
    assert {state for state, _ in cards} <= {"all right", "all wrong", "they differ"}
    for state, body in cards:
        states = re.findall(r'class="answer (\w+)"', body)
        assert len(states) == 3
        assert state == (f"all {states[0]}" if len(set(states)) == 1 else "they differ")


def test_seeds_of_one_experiment_are_averaged(runs, copied, tmp_path):
    copied.spec_file.write_text(copied.spec_file.read_text().replace("seed = 0\n", "seed = 3\n", 1))
    file = copied.predictions_file("test")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    scores = [line["score"] for line in lines]
    for line in lines[:30]:  # the other seed answers some questions in another way
        line["score"] = 1.0 - line["score"]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    accuracies = [100 * statistics.fmean(scores), 100 * statistics.fmean(line["score"] for line in lines)]
    mean, deviation = statistics.fmean(accuracies), statistics.stdev(accuracies)
    paths = [runs["adahan"].path, copied.path, runs["han"].path]
    page = Page(hacore.write_comparison(paths, tmp_path / "page.html", device="cpu")[0]).check()
    assert "2 experiments on the same 100 questions" in page.text
    assert re.search(rf" han {mean:.1f} \*? ?± {deviation:.1f}, 2 seeds ", page.text)
    assert re.search(rf" adahan {100 * runs['adahan'].result().accuracy:.1f} \*? ?\(", page.text)
    assert re.search(r" seeds 0 0, 3 $| seeds 0 0, 3 ", page.text)
    _, first, second, *_ = re.findall(r"<h3>(.*?)</h3>", page.source)
    assert (first, second) == ("adahan", 'han<span class="truth">, seed 0</span>')


def test_seeds_alone_are_side_by_side(runs, copied, tmp_path):
    copied.spec_file.write_text(copied.spec_file.read_text().replace("seed = 0\n", "seed = 3\n", 1))
    paths = [runs["han"].path, copied.path]
    page = Page(hacore.write_comparison(paths, tmp_path / "page.html", device="cpu")[0]).check()
    assert {"seed = 0", "seed = 3"} <= set(re.findall(r"<h3>(.*?)</h3>", page.source))


def test_runs_on_other_questions_are_not_compared(runs, copied, tmp_path):
    result = copied.result().as_dict()
    result["data"]["fingerprint"] = "other"
    copied.result_file.write_text(json.dumps(result))
    with pytest.raises(HacoreError, match=r"data.fingerprint.*same questions"):
        hacore.write_comparison([runs["han"].path, copied.path], tmp_path / "never.html")


def test_predictions_of_other_types_are_not_compared(runs, copied, names, tmp_path):
    file = copied.predictions_file("test")
    first, *lines = file.read_text().splitlines()
    file.write_text("\n".join([json.dumps({**json.loads(first), "type": ""}), *lines, ""]))
    with pytest.raises(HacoreError) as caught:
        hacore.write_comparison([runs["adahan"].path, copied.path], tmp_path / "never.html")
    names(str(caught.value), f"{copied.path}:", "other questions", "hacore eval")


def test_runs_of_one_name_are_told_apart(runs, copied, tmp_path):
    text = copied.spec_file.read_text().replace("\nk = 7\n", "\nk = 5\n")
    copied.spec_file.write_text(text)
    page, notes = hacore.write_comparison(
        [runs["han"].path, copied.path], tmp_path / "page.html", device="cpu"
    )
    assert notes == ()
    assert {"k = 7", "k = 5"} <= set(re.findall(r"<h3>(.*?)</h3>", page.read_text()))


def test_runs_of_different_precisions_are_told_apart(runs, copied, names, tmp_path):
    own = runs["adahan"].result().training.precision
    other = {"float32": "bfloat16", "bfloat16": "float32"}[own]
    result = copied.result().as_dict()
    result["training"]["precision"] = other
    copied.result_file.write_text(json.dumps(result))
    page, (note,) = hacore.write_comparison(
        [runs["adahan"].path, copied.path], tmp_path / "page.html", device="cpu"
    )
    names(note, "different precisions", "bfloat16 (1 run)", "float32 (1 run)")
    text = Page(page).text
    assert f"adahan ({own})" in text
    assert f"han ({other})" in text
    assert note[1:] in text
    alone = Page(hacore.write_report(copied, device="cpu")).text
    names(alone, "precision", other)


def test_without_a_model_the_page_has_no_gallery_and_says_why(copied, cli):
    shutil.rmtree(copied.path / "checkpoints")
    copied.report_file.unlink()
    assert cli("report", copied.path).out == f"wrote {copied.report_file}\n"
    page = Page(copied.report_file).check()
    assert f"There is no gallery: {copied.path}: has no checkpoint yet; continue it with" in page.text
    assert page.all("li", class_="card") == []


def test_a_result_of_before_has_a_page(copied):
    result = copied.result().as_dict()
    for key in ("multiply_adds", "multiply_adds_by_stage", "parameters"):
        del result[key]
    result["training"] = {"seconds": 3725.0}
    copied.result_file.write_text(json.dumps(result))
    copied.metrics_file.write_text(copied.metrics_file.read_text() + '{"kind": "tra')
    assert "training 1 h 2 min" in Page(hacore.write_report(copied, device="cpu")).text


def test_what_cannot_be_reported_is_one_line(copied, cli, names, tmp_path):
    names(cli("report", tmp_path / "none").error, f"{tmp_path / 'none'}:", "no such run folder")
    predictions = copied.predictions_file("test")
    predictions.write_text("{}\n")
    names(cli("report", copied.path).error, f"{predictions}:", "'hacore eval'")
    predictions.write_text("{")
    names(cli("report", copied.path).error, f"{predictions}:", "cannot be read")
    copied.result_file.unlink()
    names(cli("report", copied.path).error, "result.json:", "missing", "hacore run --resume")
    with pytest.raises(RunError, match="missing; finish the run"):
        hacore.write_report(copied)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_filters_the_gallery(runs, tmp_path):
    choose = """<script>
    document.getElementById("by-type").value = "shape";
    document.getElementById("by-state").value = "wrong";
    document.getElementById("filters").dispatchEvent(new Event("change"));
    const few = document.querySelectorAll(".card:not([hidden])").length <= 6;
    document.querySelector("#more button:last-child").click();
    document.title = [document.querySelectorAll(".card:not([hidden])").length,
      document.querySelectorAll(".card[data-type=shape][data-state=wrong]").length,
      document.getElementById("count").textContent,
      document.documentElement.scrollWidth <= innerWidth, few].join("|");
    </script>"""
    page = tmp_path / "page.html"
    page.write_text(runs["han"].report_file.read_text().replace("</body>", f"{choose}</body>"))
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=500,900"]
    ran = subprocess.run(
        [*command, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
    )
    shown, meant, count, fits, few = re.search(r"<title>(.*?)</title>", ran.stdout)[1].split("|")
    assert shown == meant != "0"
    assert count in (f"{shown} questions", f"{shown} question")
    assert fits == few == "true"


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    if (chromium := shutil.which("chromium") or shutil.which("google-chrome")) is None:
        pytest.skip("needs chromium, as in 'apt install chromium'")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """opened(path, width, scheme): the page in a tab."""
    tabs = []

    def run(path, width, scheme="light"):
        tabs.append(browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme))
        tabs[-1].set_default_timeout(120_000)
        tabs[-1].goto(path.as_uri())
        return tabs[-1]

    yield run
    for tab in tabs:
        tab.close()


SIDEWAYS = "document.documentElement.scrollWidth > innerWidth"


def test_a_phone_has_a_short_page_without_sideways_scroll(runs, opened, tmp_path):
    comparison, _ = hacore.write_comparison(
        [folder.path for folder in runs.values()], tmp_path / "page.html", device="cpu"
    )
    for path, first in ((runs["adahan"].report_file, 6), (comparison, 3)):
        tab = opened(path, 390)
        assert not tab.evaluate(SIDEWAYS)
        assert tab.evaluate("document.documentElement.scrollHeight") < 10_000
        assert tab.locator(".card:visible").count() == first
        every = tab.locator(".card").count()
        tab.get_by_role("button", name=f"Show all {every}").press("Enter")
        assert tab.locator(".card:visible").count() == every > 20
        assert not tab.evaluate(SIDEWAYS)


def test_a_wide_screen_has_more_examples_and_the_gallery_near_the_top(runs, opened):
    tab = opened(runs["han"].report_file, 1280)
    assert tab.locator(".card:visible").count() == 12
    assert tab.locator("#gallery").bounding_box()["y"] < 400
    tab.get_by_role("button", name="Show 24 more").press("Enter")
    assert tab.locator(".card:visible").count() == 36


def test_dark_and_print(runs, opened):
    colours = "['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name])"
    path = runs["han"].report_file
    light, dark = (opened(path, 1280, scheme) for scheme in ("light", "dark"))
    assert light.evaluate(colours) == ["rgb(27, 31, 36)", "rgb(255, 255, 255)"]
    assert dark.evaluate(colours) == ["rgb(233, 235, 238)", "rgb(20, 23, 27)"]
    dark.emulate_media(media="print")
    assert dark.evaluate(colours) == light.evaluate(colours)
    assert not dark.locator("nav").is_visible()
    assert not dark.locator("#filters").is_visible()
    assert dark.locator(".card:visible").count() == 12
