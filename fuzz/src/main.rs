//! One program for all targets: `GATEMILL_FUZZ_TARGET` says which parser the bytes go to.
#![no_main]

mod open;

use std::sync::LazyLock;

use gatemill_gateway::fuzzing as gateway;
use gatemill_image::fuzzing as image;
use gatemill_lambda::fuzzing as lambda;
use gatemill_template::fuzzing as template;
use libfuzzer_sys::fuzz_target;

/// Something that takes bytes, and panics when it finds a fault.
type Target = fn(&[u8]);

const TARGETS: &[(&str, Target)] = &[
    ("arn", open::references),
    ("definition", gateway::definition),
    ("event-stream", open::event_stream),
    ("frame", lambda::frame),
    ("http1", lambda::http1),
    ("keys", gateway::keys),
    ("manifest", image::manifest),
    ("percent", open::percent),
    ("policy", open::policy),
    ("reference", image::reference),
    ("routes", gateway::routes),
    ("sigv4", open::sigv4),
    ("tar", image::tar),
    ("template", template::template),
    ("unpack", image::unpack),
    ("uri", gateway::uri),
    ("zip", lambda::zip),
];

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("GATEMILL_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("GATEMILL_FUZZ_TARGET names no target: {name:?}")).1
});

fuzz_target!(|data: &[u8]| TARGET(data));
