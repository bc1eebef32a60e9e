"""The API reference is read from the source: every public name, without importing anything."""

import subprocess
import sys

import kdlib
from kdlib.course.site import reference


def entries():
    return {e.anchor: e for folder in reference.folders() for module in folder.modules for e in module.entries}


def test_every_name_that_kdlib_offers_is_there():
    found = {anchor.rsplit(".", 1)[-1] for anchor in entries()}
    assert set(kdlib._HOME) - found == {"LOSSES"} - found


def test_an_entry_has_its_signature_shapes_and_source():
    kd = entries()["kdlib.losses.logits.kd"]
    assert kd.signature.startswith("kd(student: Tensor") and "(B, K)" in kd.text and "Eq. 2" in kd.text


def test_tables_list_what_a_user_may_write():
    assert "<code>cross_entropy</code>" in entries()["kdlib.losses.logits.LOSSES"].text


def test_text_is_escaped():
    assert reference.as_html("a < b and `x < y`\n\nrows: (N,)\ncols: (D,)") == (
        '<p>a &lt; b and <code>x &lt; y</code></p><p class="lines">rows: (N,)\ncols: (D,)</p>'
    )


def test_nothing_is_imported_for_it():
    code = "import sys; from kdlib.course.site import reference; reference.folders(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_fields_with_a_meaning_stand_in_a_table():
    run = entries()["kdlib.experiments.config.Run"]
    assert run.signature == "class Run(...)"
    told = "<td><code>tau</code></td><td>float</td><td><code>4.0</code></td><td>temperature, above 0</td>"
    assert told in run.text


def test_code_and_tables_keep_their_lines():
    assert reference.as_html("Use:\n\n    with a as b:\n        b.say()") == (
        "<p>Use:</p><pre>with a as b:\n    b.say()</pre>"
    )
    assert reference.as_html("| a | b |\n|---|---|") == "<pre>| a | b |\n|---|---|</pre>"
