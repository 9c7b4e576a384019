//! Calls that go well: what functions are given and what callers get.

use serde_json::json;

use crate::{Case, world::World};

pub(crate) const CASES: &[Case] = &[
    Case { name: "calls::python_answers", body: python_answers },
];

const ECHO: &str = "def handler(event, context):\n    return event\n";

fn python_answers(world: &World) {
    world.create("f", "python3.12", &[("app.py", ECHO)]);
    let (answer, failed) = world.json("f", r#"{"a":[1,2.0,"ü"]}"#);
    assert_eq!((answer, failed), (json!({"a": [1, 2.0, "ü"]}), false));
    let log = world.log("/aws/lambda/f", |log| log.contains("REPORT"));
    println!("{log}");
}
