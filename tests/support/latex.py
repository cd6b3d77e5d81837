"""A TeX engine, where there is one."""

import shutil
import subprocess

import pytest

ENGINES = ("pdflatex", "lualatex", "xelatex", "tectonic")


def compiled(table, folder):
    """Return the PDF of a page with a table; skips where there is no engine."""
    engine = next((name for name in ENGINES if shutil.which(name)), None)
    if engine is None:
        pytest.skip(f"there is no TeX engine here: none of {', '.join(ENGINES)}")
    page = "\\documentclass{article}\\usepackage{booktabs,xcolor}\\begin{document}\n"
    (folder / "page.tex").write_text(f"{page}{table}\\end{{document}}\n")
    words = [engine, "page.tex"] if engine == "tectonic" else [
        engine, "-interaction=nonstopmode", "-halt-on-error", "page.tex"]  # fmt: skip
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:]
    return folder / "page.pdf"
