"""The page of the neutron-star study in a real browser: everything visible, nothing overflowing, no network."""

import pytest

import hpc_ds.report as report

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [1280, 400])
def test_page_is_whole_in_chromium(browser, studied, width):
    path = report.build(studied)
    seen = browser.visit(path, width)
    assert seen["inner"] == width
    assert len(seen["boxes"]) == 13
    hidden = [box for box in seen["boxes"] if box["height"] < 50 or box["right"] - box["left"] < 200]
    outside = [box for box in seen["boxes"] if box["left"] < 0 or box["right"] > width]
    assert hidden == [] and outside == []
    assert seen["page"] <= width
    assert seen["smallest"] >= 6.5
    assert browser.complaints() == []
    assert browser.requests(path) == []


def test_names_of_stars_follow_the_colour_scheme(browser, studied):
    path = report.build(studied)
    look = """
      const name = [...document.querySelectorAll('svg text')].find(item => item.textContent == 'M30');
      return [getComputedStyle(name).fill, getComputedStyle(name).stroke];
    """
    shades = {}
    for scheme in ("light", "dark"):
        browser.visit(path, 1280, scheme)
        shades[scheme] = browser.ask(look)
    assert shades["light"] == ["rgb(27, 36, 48)", "rgb(255, 255, 255)"]
    assert shades["dark"] == ["rgb(232, 235, 239)", "rgb(18, 22, 27)"]


@pytest.mark.parametrize("width", [1280, 400])
def test_no_text_of_a_figure_covers_another(browser, studied, width):
    browser.visit(report.build(studied), width)
    covered = """
      const found = [];
      for (const figure of document.querySelectorAll('svg')) {
        const texts = [...figure.querySelectorAll('text')].filter(text => text.textContent.trim());
        const boxes = texts.map(text => text.getBoundingClientRect());
        boxes.forEach((a, i) => boxes.slice(0, i).forEach((b, j) => {
          const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
          const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
          if (wide > 2 && high > 3) found.push(texts[i].textContent + ' on ' + texts[j].textContent);
        }));
      }
      return found;
    """
    assert browser.ask(covered) == []
