//! Functions that isolate tenants: no environment serves two of them.

use gatemill_lambda::{Error, Invocation, Throttle};
use serde_json::{Value, json};

use crate::{Case, world::World};

pub(crate) const CASES: &[Case] = &[
    Case { name: "tenants::share_no_environment", body: isolated },
    Case { name: "tenants::have_to_be_named", body: named },
    Case { name: "tenants::have_a_limit_of_environments", body: limited },
];

const CODE: &[(&str, &str)] = &[(
    "app.py",
    "import uuid\nME = uuid.uuid4().hex\nseen = []\n\ndef handler(e, c):\n    seen.append(c.tenant_id)\n    \
     return [ME, c.tenant_id, seen]\n",
)];

fn create(world: &World) -> Value {
    let more = json!({ "TenancyConfig": { "TenantIsolationMode": "PER_TENANT" } });
    world.create_with("f", "python3.12", CODE, &more)
}

fn of_tenant(world: &World, tenant: &str) -> Invocation {
    Invocation { tenant_id: Some(tenant.to_owned()), ..world.invocation("f", "{}") }
}

fn isolated(world: &World) {
    assert_eq!(create(world)["TenancyConfig"], json!({ "TenantIsolationMode": "PER_TENANT" }));
    let ask = |tenant: &str| -> (String, String, Vec<String>) {
        let outcome = world.run(world.lambda.invoke(of_tenant(world, tenant))).unwrap();
        serde_json::from_slice(&outcome.payload).unwrap()
    };
    let (blue, tenant, _) = ask("blue");
    assert_eq!(tenant, "blue");
    let (red, _, seen) = ask("red");
    assert_ne!(blue, red);
    assert_eq!(seen, ["red"]);
    let (again, _, seen) = ask("blue");
    assert_eq!(
        (again, seen),
        (blue, vec!["blue".to_owned(), "blue".to_owned()]),
        "a tenant's own is warm"
    );
    assert_eq!(world.lambda.status().idle, 2);
    // An update ends them as it ends others.
    let body = json!({ "Description": "d" });
    let uri = "/2015-03-31/functions/f/configuration";
    assert_eq!(world.call("PUT", uri, &body).0, 200);
    let configuration = world.settled("f");
    assert_eq!(configuration["TenancyConfig"], json!({ "TenantIsolationMode": "PER_TENANT" }));
    assert_ne!(ask("blue").0, red);
}

fn named(world: &World) {
    create(world);
    world.create("plain", "python3.12", CODE);
    let invoke = |name: &str, headers: &[(&str, &str)]| {
        let uri = format!("/2015-03-31/functions/{name}/invocations");
        let response = world.run(world.send("POST", &uri, headers, "{}"));
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        (response.status().as_u16(), body)
    };
    let (status, body) = invoke("f", &[]);
    assert_eq!(status, 400);
    assert_eq!(
        body["message"],
        "The invoked function is enabled with tenancy configuration. Add a valid tenant ID in your request and try \
         again."
    );
    let (status, body) = invoke("plain", &[("X-Amz-Tenant-Id", "blue")]);
    assert_eq!(status, 400);
    assert_eq!(
        body["message"],
        "The invoked function is not enabled with tenancy configuration. Remove the tenant ID from your request and \
         try again."
    );
    assert_eq!(invoke("f", &[("X-Amz-Tenant-Id", "no;tenant")]).0, 400);
    let (status, body) = invoke("f", &[("X-Amz-Tenant-Id", "a tenant/of:us=1@x")]);
    assert_eq!((status, &body[1]), (200, &json!("a tenant/of:us=1@x")));
    for bad in ["", "no\ntenant", &"x".repeat(257)] {
        let error = world.run(world.lambda.invoke(of_tenant(world, bad))).unwrap_err();
        assert!(matches!(error, Error::Validation(_)), "{error}");
    }
}

fn limited(world: &World) {
    create(world);
    // The account runs four calls at a time, so ten environments of single tenants may live.
    for tenant in 0..10 {
        let call = of_tenant(world, &tenant.to_string());
        assert_eq!(world.run(world.lambda.invoke(call)).unwrap().function_error, None);
    }
    let error = world.run(world.lambda.invoke(of_tenant(world, "one more"))).unwrap_err();
    assert!(matches!(error, Error::Throttled(Throttle::Account)), "{error}");
    assert!(world.run(world.lambda.invoke(of_tenant(world, "3"))).is_ok(), "who has one keeps it");
}
