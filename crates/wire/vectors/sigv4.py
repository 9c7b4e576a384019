"""Writes src/sigv4_vectors.rs: requests as botocore signs them, at one fixed time and with one fixed key.

python3 vectors/sigv4.py > src/sigv4_vectors.rs   (needs botocore; run in crates/wire)

Only public interfaces of botocore sign; nothing here computes a signature. The signatures are golden: a change in the
output is a change in what clients send.
"""

import datetime
from unittest import mock
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

NOW = datetime.datetime(2026, 11, 22, 20, 26, 54)
KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "AQoDYXdzEPT//////////wEXAMPLE+token=="
HOST = "http://127.0.0.1:4566"
ARN = "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af"
FUNCTIONS = "/2015-03-31/functions"
FORM = "application/x-www-form-urlencoded; charset=utf-8"

# name, method, URL, headers, body, options
HEADER_FORM = [
    ("a plain GET", "GET", f"{HOST}{FUNCTIONS}/f", {}, b"", {}),
    ("the root path", "GET", HOST, {}, b"", {}),
    ("an encoded ARN and qualifier", "GET", f"{HOST}{FUNCTIONS}/{ARN}?Qualifier=%24LATEST", {}, b"", {}),
    ("double slashes and one at the end", "GET", f"{HOST}/2015-03-31//functions///f/", {}, b"", {}),
    ("dot segments", "GET", f"{HOST}/2015-03-31/x/../functions/./f", {}, b"", {}),
    ("dot segments above the root", "GET", f"{HOST}/../../a/..", {}, b"", {}),
    ("UTF-8 in the path", "GET", f"{HOST}/v2/tags/%C3%BC%E2%82%AC%F0%9F%A6%80", {}, b"", {}),
    ("reserved characters in the path", "GET", f"{HOST}/a!b'(c)*d~e:f@g,h;i=j", {}, b"", {}),
    ("lower-case escapes in the path", "GET", f"{HOST}/arn%3aaws%2fx", {}, b"", {}),
    ("a query out of order", "GET", f"{HOST}/t?b=2&a=1&B=3&a%20b=4&ab=5", {}, b"", {}),
    ("repeated keys and empty values", "DELETE", f"{HOST}/t?tagKeys=z&tagKeys=a&tagKeys=&empty&k=", {}, b"", {}),
    ("escapes in the query", "GET", f"{HOST}/t?q=a%20b%2Bc%26d%3De%2Ff%C3%BC&%3Ak=~-._", {}, b"", {}),
    ("a JSON body and a target", "POST", f"{HOST}/", {
        "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Logs_20140328.DescribeLogGroups",
    }, b'{"limit":5}', {"service": "logs"}),
    ("a form", "POST", f"{HOST}/", {"Content-Type": FORM}, b"Action=GetCallerIdentity&Version=2011-06-15",
     {"service": "sts"}),
    ("spaces and tabs in header values", "POST", f"{HOST}{FUNCTIONS}/f/invocations", {
        "X-Amz-Client-Context": "  a  b\t c   ", "X-Amz-Log-Type": "Tail",
    }, b"{}", {}),
    ("a body of bytes", "POST", f"{HOST}{FUNCTIONS}/f/invocations", {}, bytes(range(0, 256, 5)), {}),
    ("a session token", "GET", f"{HOST}{FUNCTIONS}/f", {}, b"", {"token": TOKEN}),
    ("a Date header", "GET", f"{HOST}{FUNCTIONS}/f", {"Date": "any"}, b"", {}),
    ("a signed body hash", "POST", f"{HOST}{FUNCTIONS}", {
        "X-Amz-Content-SHA256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    }, b"{}", {}),
    ("an unsigned payload", "POST", f"https://lambda.localhost{FUNCTIONS}", {}, b"{}", {"unsigned": True}),
    ("a host name without port", "GET", f"http://lambda.us-east-1.localhost{FUNCTIONS}/f", {}, b"", {}),
    ("another region", "GET", f"{HOST}{FUNCTIONS}/f", {}, b"", {"region": "eu-central-1"}),
]
QUERY_FORM = [
    ("a presigned GET", "GET", f"{HOST}{FUNCTIONS}/{ARN}", {}, b"", {}),
    ("a presigned GET with a query", "GET", f"{HOST}/t?b=2&a=x%20y&a=%2B", {}, b"", {}),
    ("a presigned GET with a session token", "GET", f"{HOST}{FUNCTIONS}/f", {}, b"", {"token": TOKEN}),
    ("a presigned POST", "POST", f"{HOST}{FUNCTIONS}/f/invocations", {}, b"", {}),
    ("a presigned header", "GET", f"{HOST}{FUNCTIONS}/f", {"X-Amz-Log-Type": "None"}, b"", {}),
]


def rust(text):
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    return f'"{escaped}"'


def vector(case, presigned):
    name, method, url, headers, body, options = case
    request = AWSRequest(method=method, url=url, headers=headers, data=body)
    if options.get("unsigned"):
        request.context["payload_signing_enabled"] = False
    signer, more = (SigV4QueryAuth, {"expires": 900}) if presigned else (SigV4Auth, {})
    signer = signer(
        Credentials(KEY, SECRET, options.get("token")),
        options.get("service", "lambda"),
        options.get("region", "us-east-1"),
        **more,
    )
    with mock.patch("botocore.auth.get_current_datetime", lambda: NOW):
        signer.add_auth(request)
    parts = urlsplit(request.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    sent = [("host", parts.netloc)] + [(key.lower(), value) for key, value in request.headers.items()]
    sent = [f"({rust(key)}, {rust(value)})" for key, value in sent]
    sent = ", ".join(sent) if presigned else "".join(f"\n            {pair}," for pair in sent) + "\n        "
    body = "".join(f"\\x{byte:02x}" if byte < 32 or byte > 126 or byte in b'"\\' else chr(byte) for byte in body)
    fields = {
        "name": rust(name),
        "method": rust(method),
        "target": rust(target),
        "headers": f"&[{sent}]",
        "body": f'b"{body}"',
    }
    return "    Vector {\n" + "".join(f"        {key}: {value},\n" for key, value in fields.items()) + "    },"


print("//! Requests as botocore signs them. Generated by `vectors/sigv4.py`, which says how to remake it.\n")
print("/// A request on the wire.")
print("#[derive(Debug)]\npub(super) struct Vector {")
for field, kind in [("name", "&'static str"), ("method", "&'static str"), ("target", "&'static str"),
                    ("headers", "&'static [(&'static str, &'static str)]"), ("body", "&'static [u8]")]:
    print(f"    pub(super) {field}: {kind},")
print("}\n")
print("/// Signed in the `Authorization` header.")
print("pub(super) static HEADER_FORM: &[Vector] = &[", *[vector(case, False) for case in HEADER_FORM], "];", sep="\n")
print("\n/// Signed in the query, for 900 seconds.")
print("pub(super) static QUERY_FORM: &[Vector] = &[", *[vector(case, True) for case in QUERY_FORM], "];", sep="\n")
