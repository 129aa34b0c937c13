"""Opens a page in a headless browser and prints as JSON what happens there; run as a program, so that Qt has a process."""

import json
import os
import sys

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("QTWEBENGINE_CHROMIUM_FLAGS", "--no-sandbox --disable-gpu")
os.environ.setdefault("QTWEBENGINE_DISABLE_SANDBOX", "1")

from PyQt6.QtCore import QTimer, QUrl
from PyQt6.QtWebEngineCore import QWebEnginePage, QWebEngineProfile, QWebEngineUrlRequestInterceptor
from PyQt6.QtWidgets import QApplication

PROBE = """(() => {
  const rows = () => [...document.querySelectorAll("tbody tr")].map(r => [...r.children].map(c => c.dataset.value));
  const click = name => [...document.querySelectorAll("th button")].find(b => b.textContent === name).click();
  const before = rows();
  click("local error"); const up = rows();
  click("local error"); const down = rows();
  click("row"); const names = rows();
  const images = [...document.images].map(i => [i.complete, i.naturalWidth, i.alt.length]);
  const sorted = [...document.querySelectorAll("th")].map(h => h.getAttribute("aria-sort"));
  return JSON.stringify({before, up, down, names, images, sorted, title: document.title});
})()"""


class Requests(QWebEngineUrlRequestInterceptor):
    """Keeps every address that is asked for."""

    seen = []

    def interceptRequest(self, info):
        self.seen.append(info.requestUrl().toString()[:80])


class Page(QWebEnginePage):
    """Keeps what the page writes to the console."""

    console = []

    def javaScriptConsoleMessage(self, level, message, line, source):
        self.console.append(message)


def main(path):
    app = QApplication(sys.argv[:1])
    profile, requests = QWebEngineProfile(), Requests()
    profile.setUrlRequestInterceptor(requests)
    page = Page(profile)

    def report(result):
        print(json.dumps({"page": json.loads(result), "requests": requests.seen, "console": page.console}), flush=True)
        os._exit(0)

    page.loadFinished.connect(lambda ok: page.runJavaScript(PROBE, report) if ok else os._exit(3))
    QTimer.singleShot(60_000, lambda: os._exit(4))
    page.load(QUrl.fromLocalFile(os.path.abspath(path)))
    app.exec()


if __name__ == "__main__":
    main(sys.argv[1])
