"""Function packages: zips made in memory from source text."""

import importlib.util
import io
import pathlib
import zipfile

ROLE = "arn:aws:iam::000000000000:role/e2e"
# What boto3 consists of; of botocore's data only the services that are called.
BOTO3 = ["boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "six"]
SERVICES = {"apigatewaymanagementapi", "lambda", "sts"}


def package(**files):
    """A zip of `name=text`; `__` in a name stands for a dot, as in `app__py`."""
    return package_of({name.replace("__", "."): text for name, text in files.items()})


def package_of(files, mode=0o644):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


def modules(names):
    """The files of modules of this interpreter, for a package that takes them along."""
    files = {}
    for name in names:
        origin = pathlib.Path(importlib.util.find_spec(name).origin)
        root = origin.parent if origin.name == "__init__.py" else origin
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            within = path.relative_to(root.parent)
            is_data = within.parts[:2] == ("botocore", "data") and len(within.parts) > 3
            if path.is_file() and "__pycache__" not in within.parts and (not is_data or within.parts[2] in SERVICES):
                files[str(within)] = path.read_bytes()
    return files


def create(client, name, code, runtime, handler="app.handler", wait=True, **more):
    """Creates a function as the documentation shows it and waits until it is active."""
    answer = client.create_function(
        FunctionName=name,
        Runtime=runtime,
        Role=ROLE,
        Handler=handler,
        Code={"ZipFile": code},
        **{"Timeout": 10, **more},
    )
    if wait:
        client.get_waiter("function_active_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
        )
    return answer
