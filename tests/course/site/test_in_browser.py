"""The site of the committed lessons in a real browser: links, formulas, narrow screens, contrast, nothing from elsewhere."""

import re
from urllib.parse import unquote, urldefrag

import pytest

from kdlib.course import lessons, suite
from kdlib.course.site import write_site
from tests.browser import chromium

OPEN = "document.querySelectorAll('details').forEach(part => part.open = true)"
LINKS = "[...document.querySelectorAll('a[href]')].map(link => link.href)"
IDS = "[...document.querySelectorAll('[id]')].map(part => part.id)"
FORMULAS = """() => ({
  empty: [...document.querySelectorAll('math')].filter(m => !m.getBoundingClientRect().width || !m.textContent.trim()).length,
  raw: [...document.querySelectorAll('code.tex')].map(c => c.textContent),
  shown: document.querySelectorAll('math').length })"""
# Dollars outside of code: a formula that nobody has set.
DOLLARS = """() => {
  const copy = document.querySelector('main').cloneNode(true);
  copy.querySelectorAll('code, pre, style').forEach(part => part.remove());
  return (copy.textContent.match(/\\$[^$\\n]+\\$/g) || []); }"""
WIDE = """() => [...document.querySelectorAll('main *')]
  .filter(part => part.getBoundingClientRect().right > innerWidth + 1 && !part.closest('.scroll, pre, .output_area, .input'))
  .slice(0, 3).map(part => part.outerHTML.slice(0, 120))"""
WORDLESS = "[...document.querySelectorAll('img')].filter(image => !image.alt).length"


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The site of the lessons as they are committed, executed; nothing runs for it."""
    tasks = [suite.task(name) for name in lessons.names()]
    outcomes = [suite.Outcome(suite.Task(t.source, t.parameters, t.preset, t.source, t.folder)) for t in tasks]
    return write_site(outcomes, tmp_path_factory.mktemp("figures") / "site").parent


@pytest.fixture(scope="module")
def pages(folder):
    return sorted(path.name for path in folder.glob("*.html"))


def opened(browser, folder, name, scheme="light", width=1280):
    """The page, opened from disk; `asked` lists all that it asked for, `refused` what it did not get and why."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.asked, page.said, page.refused = [], [], []
    page.on("requestfailed", lambda request: page.refused.append((request.url, request.failure)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    file, anchor = urldefrag(name)
    page.goto((folder / file).as_uri() + (f"#{anchor}" if anchor else ""))
    return page


def test_every_page_is_whole(browser, folder, pages):
    """Each link leads somewhere, each formula is set, each picture has words, and nothing is asked for but the page."""
    ids, links = {}, {}
    for name in pages:
        page = opened(browser, folder, name)
        page.evaluate(OPEN)
        found = page.evaluate(FORMULAS)
        assert found["empty"] == 0 and found["raw"] == [] and page.evaluate(DOLLARS) == [], f"{name}: {found}"
        assert page.evaluate(WORDLESS) == 0, f"{name}: a picture without words"
        ids[name], links[name] = page.evaluate(IDS), page.evaluate(LINKS)
        assert len(ids[name]) == len(set(ids[name])), name
        assert [url for url in page.asked if not url.startswith("data:")] == [
            (folder / name).as_uri()
        ] and page.said == []
        page.context.close()
    for name, found in links.items():
        for link in found:
            path, anchor = urldefrag(link)
            if path.startswith("file:"):
                target = unquote(path.rsplit("/", 1)[-1])
                assert target in ids and (not anchor or unquote(anchor) in ids[target]), f"{name}: {link}"
            else:
                assert re.match(r"https?://|mailto:", path), f"{name}: {link}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(browser, folder, pages, scheme):
    for name in pages if scheme == "light" else pages[-1:]:
        page = opened(browser, folder, name, scheme, width=390)
        page.evaluate(OPEN)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, f"{name}: {page.evaluate(WIDE)}"
        page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible(browser, folder, pages, scheme):
    """axe-core finds nothing serious: contrast, names of controls, order of headings, alternative texts.

    What lessons share is looked at in one of each kind of page; one lesson in light, another in dark.
    """
    from axe_playwright_python.sync_playwright import Axe

    of_lessons = [name for name in pages if name[0].isdigit()]
    chosen = [name for name in pages if not name[0].isdigit()] + [of_lessons[0 if scheme == "light" else -1]]
    for name in chosen:
        page = opened(browser, folder, name, scheme)
        found = Axe().run(page).response
        serious = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
        told = [(v["id"], v["help"], [node["html"][:160] for node in v["nodes"][:3]]) for v in serious]
        assert not told, f"{name} in {scheme}: {told}"
        assert any(rule["id"] == "color-contrast" for rule in found["passes"]), "contrast was looked at"
        page.context.close()


def test_search_theme_and_turning_pages(browser, folder, pages):
    lesson = next(name for name in pages if name.startswith("01"))
    page = opened(browser, folder, lesson)
    page.keyboard.press("/")
    page.keyboard.type("difficulty scores")
    page.locator("#found a").first.click()
    assert "02_difficulty_scores" in page.url
    page.locator("a[rel=prev]").click()
    assert page.url.endswith(lesson)
    page.fill("#search", "no such title anywhere")
    assert page.locator("#found").inner_text() == "No title has these words."
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    solution = page.locator("main details").first
    assert not solution.evaluate("part => part.open"), "solutions are folded"
    page.context.close()


def test_a_name_inside_a_folded_part_is_shown(browser, folder):
    page = opened(browser, folder, "api.html#kdlib.losses.logits.kd")
    assert page.locator("[id='kdlib.losses.logits.kd']").is_visible()
    page.context.close()


def test_the_policy_of_a_page_stops_what_the_cleaning_might_miss(browser, tmp_path):
    from kdlib.course.site.pages import page as whole

    harm = '<script>window.hacked = 1</script><img src="x" onerror="window.hacked = 1"><img src="https://example.org/x.png">'
    (tmp_path / "p.html").write_text(whole("Title", harm))
    page = opened(browser, tmp_path, "p.html")
    assert page.evaluate("window.hacked") is None
    refused = [url for url, reason in page.refused if reason == "csp"]
    assert sorted(refused) == [(tmp_path / "x").as_uri(), "https://example.org/x.png"], "even a file beside it"
    page.context.close()


def test_a_page_prints(browser, folder):
    page = opened(browser, folder, "index.html")
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)", "paper is white"
    assert not page.locator("body > header").is_visible()
    page.context.close()
