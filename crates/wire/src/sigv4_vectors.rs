//! Requests that botocore 1.43 signed (`SigV4Auth`, `SigV4QueryAuth`) at 2026-11-22T20:26:54Z with the example credentials
//! of AWS's documentation: facts, not code of ours.

/// One signed request.
pub(super) struct Vector {
    pub(super) name: &'static str,
    pub(super) method: &'static str,
    /// Path and query as sent.
    pub(super) target: &'static str,
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) body: &'static str,
}

pub(super) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

pub(super) const VECTORS: &[Vector] = &[
    Vector {
        name: "a plain GET",
        method: "GET",
        target: "/2015-03-31/functions/",
        headers: &[
            ("host", "lambda.us-east-1.amazonaws.com"),
            ("x-amz-date", "20261122T202654Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=e578cb95afcd541786a5482395ba3e2bf818006dd9bb94d8570fa28f2e2d4ca5",
            ),
        ],
        body: "",
    },
    Vector {
        name: "no path at all",
        method: "GET",
        target: "/",
        headers: &[
            ("host", "lambda.us-east-1.amazonaws.com"),
            ("x-amz-date", "20261122T202654Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=ca7b2e8bf4cba5995c3808e4d29295133bb5bea74c8b9f29883ccef64eb86968",
            ),
        ],
        body: "",
    },
    Vector {
        name: "a query out of order, with repeated and empty values",
        method: "GET",
        target: "/2015-03-31/functions?b=2&a=2&a=1&c=&d",
        headers: &[
            ("host", "lambda.us-east-1.amazonaws.com"),
            ("x-amz-date", "20261122T202654Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=46ad699b4b8a7f455a53fbd4ec7a7a98881f407b4f2ab72b24a53eb256031e79",
            ),
        ],
        body: "",
    },
    Vector {
        name: "a query with reserved characters",
        method: "GET",
        target: "/2015-03-31/functions?Marker=a%2Fb%3D%3D&x=%20~%2B%26",
        headers: &[
            ("host", "lambda.us-east-1.amazonaws.com"),
            ("x-amz-date", "20261122T202654Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=462e9891465f80cb73c386f1c359e94ce8c3923b167bac1561c9a352b6973740",
            ),
        ],
        body: "",
    },
    Vector {
        name: "UTF-8 in the path and the query",
        method: "GET",
        target: "/2015-03-31/functions/gr%C3%BC%C3%9Fe?name=%E2%98%83",
        headers: &[
            ("host", "lambda.us-east-1.amazonaws.com"),
            ("x-amz-date", "20261122T202654Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=f891af284594871a4e5573ddd01ed2009abc5feb69d54d597e8d9eb297ad20a1",
            ),
        ],
        body: "",
    },
    Vector {
        name: "an ARN in the path",
        method: "GET",
        target: "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af/policy",
        headers: &[
            ("host", "lambda.us-east-1.amazonaws.com"),
            ("x-amz-date", "20261122T202654Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=e2cc35bb79b9006e1ccac2fec8cb65b9ce0ecc68b0f130e8aa780857e240fe02",
            ),
        ],
        body: "",
    },
    Vector {
        name: "a dollar sign and a tilde in the path",
        method: "GET",
        target: "/2015-03-31/functions/f/versions/$LATEST/~x",
        headers: &[
            ("host", "lambda.us-east-1.amazonaws.com"),
            ("x-amz-date", "20261122T202654Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=de8e000a5517c939fd9a91029172def76b4f285437a402d32e0fc1c36ed88e03",
            ),
        ],
        body: "",
    },
    Vector {
        name: "a space in the path",
        method: "GET",
        target: "/2015-03-31/functions/a%20b",
        headers: &[
            ("host", "lambda.us-east-1.amazonaws.com"),
            ("x-amz-date", "20261122T202654Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=ba3f9ae1369f20e6dd21b6280c8e90f7bffc0d3e9c03aa2690cf354daac2d0be",
            ),
        ],
        body: "",
    },
    Vector {
        name: "double slashes and dot segments",
        method: "GET",
        target: "//a/./b/../c//d/",
        headers: &[
            ("host", "lambda.us-east-1.amazonaws.com"),
            ("x-amz-date", "20261122T202654Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=0b1049537b684eff97df7b492d8741ccf72bf6bea41fcf82d7d514ad6b2ad9f6",
            ),
        ],
        body: "",
    },
    Vector {
        name: "headers with spaces",
        method: "GET",
        target: "/2015-03-31/functions/",
        headers: &[
            ("host", "lambda.us-east-1.amazonaws.com"),
            ("x-amz-meta", "  two   words  "),
            ("x-empty", ""),
            ("x-amz-date", "20261122T202654Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date;x-amz-meta;x-empty, Signature=a4e4d0850059d3d9c42e851b781c2de5cd3065779c60973f0d819066e739891f",
            ),
        ],
        body: "",
    },
    Vector {
        name: "a body",
        method: "POST",
        target: "/2015-03-31/functions",
        headers: &[
            ("host", "lambda.us-east-1.amazonaws.com"),
            ("content-type", "application/json"),
            ("x-amz-date", "20261122T202654Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/lambda/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=9cec3d75d173460ea80e425c6852e50c49861a3863819cbedd2caa42b778fac0",
            ),
        ],
        body: "{\"FunctionName\":\"f\"}",
    },
    Vector {
        name: "a body in UTF-8",
        method: "PUT",
        target: "/2015-03-31/functions/f/configuration",
        headers: &[
            ("host", "lambda.us-east-1.amazonaws.com"),
            ("x-amz-date", "20261122T202654Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=e8104c26093c466ee16e2bac6d5e34a0920611fbccc690775590f412822e15ce",
            ),
        ],
        body: "{\"Description\":\"grüße ☃\"}",
    },
    Vector {
        name: "a session token",
        method: "POST",
        target: "/2015-03-31/functions/f/invocations",
        headers: &[
            ("host", "lambda.us-east-1.amazonaws.com"),
            ("x-amz-invocation-type", "Event"),
            ("x-amz-date", "20261122T202654Z"),
            ("x-amz-security-token", "session/token+x=="),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date;x-amz-invocation-type;x-amz-security-token, Signature=889ca97f5f493518292420b6f75f98ea5e33bbe3378dd7bb1c34359e1a5149e1",
            ),
        ],
        body: "{}",
    },
    Vector {
        name: "an unsigned payload",
        method: "POST",
        target: "/2015-03-31/functions",
        headers: &[
            ("host", "lambda.us-east-1.amazonaws.com"),
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
            ("x-amz-date", "20261122T202654Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=e8f74daf4857b9175231fa9b6b5828a7167dc9dfd5264001109c5f52ede714db",
            ),
        ],
        body: "anything",
    },
    Vector {
        name: "a body whose hash is in a header",
        method: "POST",
        target: "/2015-03-31/functions",
        headers: &[
            ("host", "lambda.us-east-1.amazonaws.com"),
            (
                "x-amz-content-sha256",
                "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            ),
            ("x-amz-date", "20261122T202654Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=ca68bcb402dfd6809177cd95091ea539da7610e3994b7c731d5f92226fd2ac45",
            ),
        ],
        body: "{}",
    },
    Vector {
        name: "the JSON protocol",
        method: "POST",
        target: "/",
        headers: &[
            ("host", "lambda.us-east-1.amazonaws.com"),
            ("x-amz-target", "Logs_20140328.CreateLogGroup"),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-date", "20261122T202654Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/logs/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=4bb79907ee7e99f9ef6b9d149b7db3749af36c4a3615fff140c2d08e0df69c59",
            ),
        ],
        body: "{\"logGroupName\":\"g\"}",
    },
    Vector {
        name: "the query protocol",
        method: "POST",
        target: "/",
        headers: &[
            ("host", "lambda.us-east-1.amazonaws.com"),
            ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
            ("x-amz-date", "20261122T202654Z"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/sts/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=a383875df1dc8e9da9d618c974fccbec0e168c6e480a0e5ffc9dfab995533f3b",
            ),
        ],
        body: "Action=GetCallerIdentity&Version=2011-06-15",
    },
    Vector {
        name: "a presigned URL",
        method: "GET",
        target: "/2015-03-31/functions/f?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20261122%2Fus-east-1%2Flambda%2Faws4_request&X-Amz-Date=20261122T202654Z&X-Amz-Expires=300&X-Amz-SignedHeaders=host&X-Amz-Signature=21b7303edd1ce3838d96d8fad010bffbe9d192f41b7e6c11bcf8059d4921dc2c",
        headers: &[("host", "lambda.us-east-1.amazonaws.com")],
        body: "",
    },
    Vector {
        name: "a presigned URL with a query of its own",
        method: "GET",
        target: "/2015-03-31/functions/f?Qualifier=%24LATEST&a=b%20c&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20261122%2Fus-east-1%2Flambda%2Faws4_request&X-Amz-Date=20261122T202654Z&X-Amz-Expires=604800&X-Amz-SignedHeaders=host&X-Amz-Signature=06b9aabc825b89331b9e2ee584a400bf70a5e4b7c62718e1010e66155a5a1a41",
        headers: &[("host", "lambda.us-east-1.amazonaws.com")],
        body: "",
    },
    Vector {
        name: "a presigned URL with a session token",
        method: "GET",
        target: "/2015-03-31/functions/f?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20261122%2Fus-east-1%2Flambda%2Faws4_request&X-Amz-Date=20261122T202654Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Security-Token=session%2Ftoken%2Bx%3D%3D&X-Amz-Signature=41b68f09550dff6a109d95c687b07508dd19f6316b27c988093e552aef2c01e4",
        headers: &[("host", "lambda.us-east-1.amazonaws.com")],
        body: "",
    },
];
