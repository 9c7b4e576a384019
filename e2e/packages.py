"""Function packages: zips made in memory from source text."""

import io
import zipfile

ROLE = "arn:aws:iam::000000000000:role/e2e"


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
