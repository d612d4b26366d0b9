"""Files for the tests: pictures by Pillow, and small PDF files written by hand."""

import io

from PIL import Image


def picture(size=(64, 48), form="PNG", mode="RGB", **options):
    """Return the bytes of a picture."""
    out = io.BytesIO()
    Image.new(mode, size, 1).save(out, form, **options)
    return out.getvalue()


def noise(size, form="JPEG", **options):
    """Return the bytes of a picture that cannot be compressed much."""
    out = io.BytesIO()
    Image.effect_noise(size, 90).convert("RGB").save(out, form, **options)
    return out.getvalue()


def pdf(*pages, filled=""):
    """Return a PDF with these pages: a text for each, empty for a page without any. `filled` stands in a field of a
    form on the first one."""
    kids = " ".join(f"{3 + 2 * n} 0 R" for n in range(len(pages)))
    objects = ["<</Type/Catalog/Pages 2 0 R>>", f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>"]
    for number, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 50 700 Td ({text}) Tj ET" if text else "10 10 100 100 re f"
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents {4 + 2 * number} 0 R"
            "/Resources<</Font<</F1<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>"
        )
        objects.append(f"<</Length {len(stream)}>>\nstream\n{stream}\nendstream")
    if filled:
        field, fonts = len(objects) + 1, "<</Font<</F1<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
        look = "/DA(/F1 12 Tf 0 g)"
        objects[0] = f"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[{field} 0 R]{look}/DR{fonts}>>>>"
        objects[2] = objects[2].removesuffix(">>") + f"/Annots[{field} 0 R]>>"
        place = f"/Rect[50 650 250 670]/F 4/P 3 0 R{look}"
        objects.append(f"<</Type/Annot/Subtype/Widget/FT/Tx/T(name)/V({filled}){place}>>")
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode() + table
    return out + f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n".encode()
