"""Formulas as MathML, which browsers show by themselves: TeX in words that the converter knows, and its output mended."""

from __future__ import annotations

import html
import re

import latex2mathml.converter

FUNCTION = r"\\(log|exp|cos)((?:_\d|_\{\w+\})?)"
OPENING = r"left|[bB]igg?|lVert|lvert|[,|{]"  # after a function's name these need no space
SPELLINGS = {  # what the converter does not know, or sets without its space, in words that it knows
    r"\\(begin|end)\{aligned\}": r"\\\1{align*}",
    r"\\operatorname\*?\{": r"\\mathrm{",
    r"\\arg(?![A-Za-z])": r"\\mathrm{arg}\\,",
    r"\\mathbb\s*(?:1|\{1\})": "𝟙",
    r"\\(mathbb|mathcal)\s*([A-Z])(?![A-Za-z])": r"\\\1{\2}",
    r"\\([bB]igg?)[lrm](?![A-Za-z])": r"\\\1 ",
    rf"{FUNCTION}\s*(?=(?<=\s)[A-Za-z]|\\(?!{OPENING}))": r"\\\1\2\\,",
    rf"(?<=[\w)}}])\s*(?={FUNCTION})": r"\\,",
}
# After \big it knows characters, and none of these names.
SIZED = {
    "lVert": "‖", "rVert": "‖", "Vert": "‖", "|": "‖", "lvert": "|", "rvert": "|", "vert": "|", "lfloor": "⌊", "rfloor": "⌋",
    "lceil": "⌈", "rceil": "⌉", "langle": "⟨", "rangle": "⟩",
}  # fmt: skip
AFTER_BIG = re.compile(r"(\\[bB]igg?)\s*\\([A-Za-z]+|\|)")
WITH_SCRIPT = re.compile(r"(\\[bB]igg?\s*(?:\\?.))(?=[\^_])")  # browsers stretch no bracket that bears a script itself
BARS = re.compile(r"<mo ([^>]*)>(\||‖|&#x0007C;)</mo>")
# What browsers set wrongly as it comes: sized brackets that do not stretch, plain ones that do, a letter for a sign.
MENDED = {
    "<mo>&#x02016;</mo>": '<mo stretchy="false" lspace="0" rspace="0">&#x02016;</mo>',
    "<mo minsize=": '<mo stretchy="true" symmetric="true" minsize=',
    "<mi>&#x000B1;</mi>": "<mo>&#x000B1;</mo>",
    ">\\{<": ">{<",
    ">\\}<": ">}<",
}
MATHML = {
    "math", "mrow", "mi", "mo", "mn", "mtext", "mspace", "mfrac", "msqrt", "mroot", "msub", "msup", "msubsup", "munder",
    "mover", "munderover", "mtable", "mtr", "mtd", "mstyle", "mpadded", "mphantom", "menclose",
}  # fmt: skip
MATHML_ATTRIBUTES = {
    "display", "mathvariant", "stretchy", "fence", "form", "accent", "minsize", "maxsize", "width", "movablelimits",
    "linethickness", "symmetric", "displaystyle", "scriptlevel", "columnalign", "columnspacing", "rowspacing", "lspace",
    "rspace",
}  # fmt: skip


def mathml(tex: str, display: bool = False) -> str:
    """A formula as MathML; as TeX source where the converter does not know it."""
    spelled = tex
    for pattern, known in SPELLINGS.items():
        spelled = re.sub(pattern, known, spelled)
    spelled = AFTER_BIG.sub(lambda m: f"{m[1]}{SIZED.get(m[2], chr(92) + m[2])}", spelled)
    spelled = WITH_SCRIPT.sub(r"\1{}", spelled)
    try:
        found = latex2mathml.converter.convert(spelled, display="block" if display else "inline")
    except Exception:  # it has dozens of errors without a common parent
        found = "\\"
    for wrong, right in MENDED.items():
        found = found.replace(wrong, right)
    found = BARS.sub(r'<mo \1 lspace="0" rspace="0">\2</mo>', found)
    if "\\" in found or "<mi>&</mi>" in found:
        found = f'<code class="tex">{html.escape(tex)}</code>'
    return f'<div class="scroll formula">{found}</div>' if display else found
