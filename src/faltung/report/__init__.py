"""Everything about a trained network in one page: `inspect` looks, `compare` says what got worse.

report = inspect(model, example)            a torch module, or a file: checkpoint, ONNX, TorchScript, torch.export, safetensors
print(report.to_text())
report.save("report.html")                  one page, no network; also .json, .txt
better, proof = report.fix("E3")            a rewritten copy, and how far it is from the model
"""

from faltung.report.compare import Comparison as Comparison
from faltung.report.compare import compare as compare
from faltung.report.inspection import inspect as inspect
from faltung.report.report import Finding as Finding
from faltung.report.report import Report as Report
