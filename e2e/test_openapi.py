"""Definitions of HTTP APIs: imported, exported and imported again by AWS's clients, and served."""

import http.client
import json
import os
import subprocess

import pytest
from botocore.exceptions import ClientError

from packages import create, package

CODE = package(app__py='''
def handler(event, context):
    return {"route": event["routeKey"], "path": event["rawPath"]}
''')

DEFINITION = """
openapi: 3.0.1
info:
  title: pets
  description: All of them
  version: 1.2.0
servers:
- url: https://example.com/{{basePath}}
  variables:
    basePath:
      default: prod/v1
tags:
- name: team
  x-amazon-apigateway-tag-value: blue
paths:
  /pets/{{id}}:
    get:
      operationId: readPet
      responses: &answers
        200:
          description: ok
      x-amazon-apigateway-integration: &function
        type: AWS_PROXY
        httpMethod: POST
        uri: {arn}
        payloadFormatVersion: 2.0
    delete:
      responses: *answers
      security:
      - sigv4: []
      x-amazon-apigateway-integration: *function
  /$default:
    x-amazon-apigateway-any-method:
      isDefaultRoute: true
      security:
      - ask: []
      x-amazon-apigateway-integration:
        $ref: '#/components/x-amazon-apigateway-integrations/shared'
components:
  securitySchemes:
    sigv4:
      type: apiKey
      name: Authorization
      in: header
      x-amazon-apigateway-authtype: awsSigv4
    ask:
      type: apiKey
      name: X-Secret
      in: header
      x-amazon-apigateway-authorizer:
        type: request
        identitySource: $request.header.X-Secret
        authorizerUri: arn:${{AWS::Partition}}:lambda:${{AWS::Region}}:${{AWS::AccountId}}:function:definitions
        authorizerPayloadFormatVersion: 2.0
        enableSimpleResponses: true
  x-amazon-apigateway-integrations:
    shared:
      <<: *function
      timeoutInMillis: 5000
x-amazon-apigateway-cors:
  allowOrigins:
  - https://one.example
  maxAge: 60
"""


@pytest.fixture(scope="module")
def arn(functions, python):
    arn = create(functions, "definitions", CODE, python)["FunctionArn"]
    functions.add_permission(FunctionName=arn, StatementId="apis", Action="lambda:InvokeFunction",
                             Principal="apigateway.amazonaws.com",
                             SourceArn="arn:aws:execute-api:us-east-1:000000000000:*")
    return arn


def get(server, api, path):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", path, headers={"Host": f"{api}.execute-api.localhost:{server.port}"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, json.loads(text)


def content(apis, api):
    """What the API consists of, without ids."""
    def listed(pages, **more):
        return [item for page in apis.get_paginator(pages).paginate(ApiId=api, **more) for item in page["Items"]]

    integrations = {one.pop("IntegrationId"): one for one in listed("get_integrations")}
    authorizers = {one.pop("AuthorizerId"): one for one in listed("get_authorizers")}
    routes = {}
    for route in listed("get_routes"):
        route["Target"] = integrations.get(route.get("Target", "").removeprefix("integrations/"))
        route["AuthorizerId"] = authorizers.get(route.get("AuthorizerId"))
        del route["RouteId"]
        routes[route["RouteKey"]] = route
    own = apis.get_api(ApiId=api)
    for made in ["ApiId", "ApiEndpoint", "CreatedDate", "ResponseMetadata"]:
        del own[made]
    return own, routes, sorted(integrations.values(), key=json.dumps), sorted(authorizers.values(), key=json.dumps)


def export(apis, api, kind, **more):
    exported = apis.export_api(ApiId=api, Specification="OAS30", OutputType=kind, **more)
    assert exported["ResponseMetadata"]["HTTPHeaders"]["content-type"] == f"application/{kind.lower()}"
    return exported["body"].read().decode()


def test_a_definition_is_imported_served_and_exported(server, apis, arn):
    made = apis.import_api(Body=DEFINITION.format(arn=arn), FailOnWarnings=True, Basepath="split")
    api = made["ApiId"]
    assert (made["Name"], made["Description"], made["Version"]) == ("pets", "All of them", "1.2.0")
    assert made["Tags"] == {"team": "blue"} and made["CorsConfiguration"] == {"AllowOrigins": ["https://one.example"], "MaxAge": 60}
    own, routes, integrations, authorizers = content(apis, api)
    assert set(routes) == {"GET /v1/pets/{id}", "DELETE /v1/pets/{id}", "$default"}
    assert routes["GET /v1/pets/{id}"]["OperationName"] == "readPet"
    assert routes["DELETE /v1/pets/{id}"]["AuthorizationType"] == "AWS_IAM"
    assert routes["$default"]["AuthorizerId"]["Name"] == "ask"
    assert routes["$default"]["AuthorizerId"]["AuthorizerUri"] == arn
    assert len(integrations) == 3 and len(authorizers) == 1
    apis.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    assert get(server, api, "/v1/pets/7") == (200, {"route": "GET /v1/pets/{id}", "path": "/v1/pets/7"})
    assert get(server, api, "/else")[0] == 401

    for kind in ["YAML", "JSON"]:
        text = export(apis, api, kind, StageName="$default")
        copy = apis.import_api(Body=text, FailOnWarnings=True)
        assert "ImportInfo" not in copy and "Warnings" not in copy
        assert content(apis, copy["ApiId"]) == (own, routes, integrations, authorizers)
        assert export(apis, copy["ApiId"], kind).replace(copy["ApiId"], api) == export(apis, api, kind)

    body = json.loads(export(apis, api, "JSON"))
    del body["paths"]["/$default"]
    body["paths"]["/new"] = body["paths"].pop("/v1/pets/{id}")
    apis.reimport_api(ApiId=api, Body=json.dumps(body))
    assert get(server, api, "/new") == (200, {"route": "GET /new", "path": "/new"})
    assert get(server, api, "/v1/pets/7") == (404, {"message": "Not Found"})


def test_what_is_wrong_is_said(apis):
    def refused(body, code="BadRequestException", **more):
        with pytest.raises(ClientError) as error:
            apis.import_api(Body=body, **more)
        assert error.value.response["Error"]["Code"] == code
        return error.value.response["Error"]["Message"]

    count = len(apis.get_apis()["Items"])
    assert "Parse issue: attribute openapi is missing" in refused("{}")
    assert "alias" in refused("a: &a [x, *a]")
    assert "tag !Sub is not known" in refused("openapi: !Sub 3.0.1")
    bare = {"openapi": "3.0.1", "info": {"title": "t", "version": "1"}, "paths": {"/a": {"get": {}}}}
    warning = "Warnings found during import:\n\tParse issue: attribute paths.'/a'(get).responses is missing"
    assert refused(json.dumps(bare), FailOnWarnings=True) == warning
    assert len(apis.get_apis()["Items"]) == count
    bare["paths"]["/a"]["get"]["requestBody"] = {}
    made = apis.import_api(Body=json.dumps(bare))
    assert made["Warnings"] == [warning.split("\n\t")[1]]
    assert made["ImportInfo"] == ["paths.'/a'(get).requestBody is not supported for HTTP APIs and is ignored"]
    bare["paths"]["/a"]["get"]["security"] = [{"nobody": []}]
    assert "nobody is not defined" in refused(json.dumps(bare))


def test_the_command_line(server, apis, arn, tmp_path):
    def aws(*arguments):
        command = [os.environ.get("GATEMILL_AWS_CLI", "aws"), "apigatewayv2", *arguments, "--endpoint-url", server.url]
        environment = {**os.environ, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
                       "AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": os.devnull, "AWS_PAGER": ""}
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    (tmp_path / "api.yaml").write_text(DEFINITION.format(arn=arn))
    made = json.loads(aws("import-api", "--body", f"file://{tmp_path}/api.yaml", "--output", "json"))
    aws("export-api", "--api-id", made["ApiId"], "--specification", "OAS30", "--output-type", "YAML", f"{tmp_path}/out.yaml")
    text = (tmp_path / "out.yaml").read_text()
    assert text == export(apis, made["ApiId"], "YAML")
    again = json.loads(aws("reimport-api", "--api-id", made["ApiId"], "--body", f"file://{tmp_path}/out.yaml", "--output", "json"))
    assert again["Name"] == "pets"
