"""Draw docs/pictures/report.png: the page of a trained network that tells the direction of text, as a browser shows it.

pip install --no-deps --target models rapidocr-onnxruntime==1.4.4
python docs/make_report.py models/rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx
"""

import shutil
import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image
from playwright.sync_api import sync_playwright

from faltung.report import inspect

WIDTH, HEIGHT = 1180, 1250


def main() -> None:
    report = inspect(sys.argv[1], torch.zeros(1, 3, 48, 192))
    target = Path(__file__).parent / "pictures" / "report.png"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        report.save(Path(folder) / "page.html")
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(f"file://{folder}/page.html")
        page.eval_on_selector_all(
            "input.section",
            "boxes => boxes.forEach(b => { if (b.checked !== ['filters', 'spectrum', 'field'].includes(b.value)) b.click() })",
        )
        page.eval_on_selector_all("#table tbody tr:nth-child(n+9)", "rows => rows.forEach(r => r.remove())")
        page.screenshot(path=target, full_page=True)
        top = page.evaluate("document.getElementById('notes').getBoundingClientRect().top + scrollY")
        browser.close()
    Image.open(target).convert("RGB").crop((0, 0, WIDTH, int(top))).quantize(128).save(target, optimize=True)


if __name__ == "__main__":
    main()
