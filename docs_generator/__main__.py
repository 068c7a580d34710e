"""`python -m docs_generator`: writes every generated file."""

from docs_generator import ROOT
from docs_generator.files import FILES

for name, text in FILES.items():
    (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
    (ROOT / name).write_text(text(), encoding="utf-8")
