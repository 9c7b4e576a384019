"""Functions that isolate tenants, in Python and in Node.js."""

import json

import pytest

from packages import create, package_of

CODE = package_of({
    "app.py": "import uuid\nME = uuid.uuid4().hex\n\ndef handler(event, context):\n    return [ME, context.tenant_id]\n",
    "index.js": "const me = Math.random().toString();\nexports.handler = async (event, context) => [me, context.tenantId];\n",
})


@pytest.mark.parametrize("language, handler", [("python", "app.handler"), ("node", "index.handler")])
def test_no_environment_serves_two_tenants(functions, request, name, language, handler):
    runtime = request.getfixturevalue(language)
    made = create(functions, name, CODE, runtime, handler=handler, TenancyConfig={"TenantIsolationMode": "PER_TENANT"})
    assert made["TenancyConfig"] == {"TenantIsolationMode": "PER_TENANT"}

    def ask(tenant):
        return json.loads(functions.invoke(FunctionName=name, TenantId=tenant, Payload=b"{}")["Payload"].read())

    blue, red = ask("blue"), ask("red")
    assert (blue[1], red[1]) == ("blue", "red") and blue[0] != red[0]
    assert ask("blue") == blue and ask("red") == red
    with pytest.raises(functions.exceptions.InvalidParameterValueException) as caught:
        functions.invoke(FunctionName=name, Payload=b"{}")
    assert caught.value.response["Error"]["Message"] == (
        "The invoked function is enabled with tenancy configuration. Add a valid tenant ID in your request and try again.")
