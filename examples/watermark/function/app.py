"""Puts a watermark on a picture: POST a JPEG or PNG, get it back with the mark.

The handler takes API Gateway's HTTP API event (payload format 2.0), as it comes from a browser, a
mobile app or curl. GET answers with a small page to try it from.
"""

import base64
import binascii
import io
import json

from PIL import Image, ImageDraw, ImageFont, ImageOps

DEFAULT_TEXT = "made with Gatemill"
TEXT_LENGTH_MAX = 80
# Lambda's answer may have 6 MB, and base64 makes a third more of it.
PICTURE_BYTES_MAX = 4_400_000
PIXELS_MAX = 24_000_000
TYPES = {"JPEG": "image/jpeg", "PNG": "image/png"}

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Watermark</title>
<style>
  body { font: 17px/1.6 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem; color: #1c2330 }
  input, button { font: inherit; padding: .35rem .6rem; margin: .25rem 0 }
  img { max-width: 100%; margin-top: 1rem; border-radius: .4rem }
  #says { color: #b3261e; min-height: 1.6em }
</style>
<h1>Watermark</h1>
<p>Choose a JPEG or PNG. A Python function of yours puts the mark on it.</p>
<form id="form">
  <input id="picture" type="file" accept="image/jpeg,image/png" required>
  <input id="text" maxlength="80" placeholder="made with Gatemill">
  <button>Mark it</button>
</form>
<p id="says" role="status"></p>
<img id="result" alt="" hidden>
<script>
  const by = id => document.getElementById(id);
  by("form").addEventListener("submit", async event => {
    event.preventDefault();
    by("says").textContent = "Working …";
    by("result").hidden = true;
    const text = by("text").value;
    const query = text ? "?text=" + encodeURIComponent(text) : "";
    const file = by("picture").files[0];
    try {
      const answer = await fetch(location.pathname + query,
        { method: "POST", body: file, headers: { "content-type": file.type } });
      if (!answer.ok) throw new Error((await answer.json()).message);
      by("result").src = URL.createObjectURL(await answer.blob());
      by("result").hidden = false;
      by("says").textContent = "";
    } catch (error) {
      by("says").textContent = error.message;
    }
  });
</script>
</html>
"""


class BadPicture(Exception):
    """The caller's mistake; the text is for the caller."""


def handler(event, context):
    method = event["requestContext"]["http"]["method"]
    if method == "GET":
        return {"statusCode": 200, "headers": {"content-type": "text/html; charset=utf-8"}, "body": PAGE}
    if method != "POST":
        return problem(405, "Send a picture with POST, or open this address in a browser.")
    try:
        text = mark_text(event.get("queryStringParameters") or {})
        picture, kind = open_picture(body_of(event))
        marked = put_mark(picture, text)
        body = encode(marked, kind)
    except BadPicture as bad:
        print(f"refused: {bad}")
        return problem(400, str(bad))
    print(f"marked a {kind} of {picture.width} x {picture.height} with {text!r}")
    return {
        "statusCode": 200,
        "headers": {"content-type": TYPES[kind]},
        "isBase64Encoded": True,
        "body": base64.b64encode(body).decode("ascii"),
    }


def problem(status, message):
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"message": message}),
    }


def mark_text(query):
    text = query.get("text", "").strip() or DEFAULT_TEXT
    if len(text) > TEXT_LENGTH_MAX:
        raise BadPicture(f"The text may have at most {TEXT_LENGTH_MAX} characters.")
    if not text.isprintable():
        raise BadPicture("The text must be one line of printable characters.")
    return text


def body_of(event):
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        # API Gateway gives only text as text, and a picture is none.
        raw = body.encode("utf-8")
    else:
        try:
            raw = base64.b64decode(body, validate=True)
        except binascii.Error:
            raise BadPicture("The body cannot be read.") from None
    if not raw:
        raise BadPicture("The body is empty; send the bytes of a JPEG or PNG.")
    if len(raw) > PICTURE_BYTES_MAX:
        raise BadPicture(f"The picture is larger than {PICTURE_BYTES_MAX:,} bytes.")
    return raw


def open_picture(raw):
    try:
        picture = Image.open(io.BytesIO(raw), formats=list(TYPES))
    except OSError:
        raise BadPicture("The body is neither a JPEG nor a PNG.") from None
    if picture.width * picture.height > PIXELS_MAX:
        raise BadPicture(f"The picture has more than {PIXELS_MAX:,} pixels.")
    kind = picture.format
    try:
        # Cameras turn the picture with a note beside it; the note gets lost, so the turn is made.
        return ImageOps.exif_transpose(picture).convert("RGBA"), kind
    except (OSError, SyntaxError, ValueError):
        raise BadPicture(f"The {kind} is damaged.") from None


def put_mark(picture, text):
    """The text in white with a soft dark edge, in the lower right corner, as wide as fits."""
    layer = Image.new("RGBA", picture.size)
    draw = ImageDraw.Draw(layer)
    size = max(10, min(picture.size) // 14)
    while True:
        font = ImageFont.load_default(size)
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        if right - left <= picture.width * 0.9 or size <= 10:
            break
        size = max(10, int(size * 0.85))
    margin = size // 2
    place = (picture.width - right - margin, picture.height - bottom - margin)
    edge = max(1, size // 14)
    draw.text(place, text, font=font, fill=(255, 255, 255, 200), stroke_width=edge, stroke_fill=(0, 0, 0, 110))
    return Image.alpha_composite(picture, layer)


def encode(picture, kind):
    out = io.BytesIO()
    if kind == "JPEG":
        picture.convert("RGB").save(out, "JPEG", quality=90, optimize=True)
    else:
        picture.save(out, "PNG")
    if out.tell() > PICTURE_BYTES_MAX:
        raise BadPicture("The marked picture is too large to be sent back; send a smaller one.")
    return out.getvalue()
