//! Zips of every kind through `CreateFunction`.

use std::io::{Cursor, Write as _};

use serde_json::{Value, json};
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::{
    Case,
    world::{ROLE, World, base64},
};

pub(crate) const CASES: &[Case] = &[
    Case { name: "packages::bad_zips", body: bad },
    Case { name: "packages::good_zips", body: good },
];

const UNREADABLE: &str =
    "Could not unzip uploaded file. Please check your file, then try to upload again.";

fn zip(build: impl FnOnce(&mut ZipWriter<Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    build(&mut zip);
    zip.finish().unwrap().into_inner()
}

fn file(zip: &mut ZipWriter<Cursor<Vec<u8>>>, name: &str, bytes: &[u8]) {
    zip.start_file(name, SimpleFileOptions::default()).unwrap();
    zip.write_all(bytes).unwrap();
}

/// A zip of files with other names put in place afterwards: the writer itself refuses some.
fn renamed(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = zip(|zip| pairs.iter().for_each(|(name, _)| file(zip, name, b"x = 1\n")));
    for (name, evil) in pairs {
        assert_eq!(name.len(), evil.len());
        for at in 0..bytes.len() - name.len() {
            if bytes[at..].starts_with(name.as_bytes()) {
                bytes[at..at + name.len()].copy_from_slice(evil.as_bytes());
            }
        }
    }
    bytes
}

fn link(name: &str, target: &str) -> Vec<u8> {
    zip(|zip| {
        file(zip, "app.py", b"x = 1\n");
        zip.add_symlink(name, target, SimpleFileOptions::default()).unwrap();
    })
}

fn create(world: &World, bytes: &[u8]) -> (u16, Value) {
    let request = json!({
        "FunctionName": "f", "Runtime": "python3.12", "Role": ROLE, "Handler": "app.handler",
        "Code": { "ZipFile": base64(bytes) },
    });
    world.call("POST", "/2015-03-31/functions", &request)
}

fn bad(world: &World) {
    let bomb = zip(|zip| {
        for n in 0..27 {
            zip.start_file(format!("{n}"), SimpleFileOptions::default()).unwrap();
            for _ in 0..10 {
                zip.write_all(&vec![0; 1_000_000]).unwrap();
            }
        }
    });
    let good = zip(|zip| file(zip, "app.py", b"x = 1\n"));
    let mut torn = good.clone();
    torn.truncate(good.len() - 10);
    let mut device = zip(|zip| file(zip, "app.py", b""));
    // The mode in the central directory's external attributes: a block device.
    let directory = device.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    device[directory + 40..directory + 42].copy_from_slice(&0o060_644_u16.to_le_bytes());
    device[directory + 5] = 3;
    for (what, bytes, message) in [
        ("no zip", b"#!/bin/sh\n".to_vec(), UNREADABLE),
        ("nothing", Vec::new(), UNREADABLE),
        ("an empty zip", zip(|_| {}), UNREADABLE),
        ("a torn zip", torn, UNREADABLE),
        ("../", renamed(&[("aa/evil.py", "../evil.py")]), UNREADABLE),
        ("a/../..", renamed(&[("a/bb/cc/evil", "a/../../evil")]), UNREADABLE),
        ("absolute", renamed(&[("aetc/evil.py", "/etc/evil.py")]), UNREADABLE),
        ("twice", renamed(&[("aaa.py", "app.py"), ("bbb.py", "app.py")]), UNREADABLE),
        (
            "twice, in other words",
            renamed(&[("app.py", "app.py"), ("aaapp.py", "./app.py")]),
            UNREADABLE,
        ),
        ("below a file", renamed(&[("app.py", "app.py"), ("app_py/x", "app.py/x")]), UNREADABLE),
        ("a link out", link("l", "../../etc/passwd"), UNREADABLE),
        ("an absolute link", link("l", "/etc/passwd"), UNREADABLE),
        ("a link that climbs", link("a/l", "../../x"), UNREADABLE),
        ("a device", device, UNREADABLE),
        ("a bomb", bomb, "Unzipped size must be smaller than 262144000 bytes"),
    ] {
        let (status, body) = create(world, &bytes);
        let text = body.get("message").or(body.get("Message"));
        assert_eq!((status, text.and_then(Value::as_str)), (400, Some(message)), "{what}: {body}");
        let (status, _) = world.call("GET", "/2015-03-31/functions/f", &Value::Null);
        assert_eq!(status, 404, "{what} left nothing");
    }
    let (status, body) = create(world, &vec![0; 52_428_801]);
    assert_eq!(
        (status, &body["message"]),
        (413, &json!("Zipped size must be smaller than 52428800 bytes"))
    );
    assert!(!std::path::Path::new("/etc/evil.py").exists());
    let unpacked = std::fs::read_dir(world.code_dir()).unwrap();
    assert_eq!(unpacked.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count(), 0);
}

fn good(world: &World) {
    let code = b"import os, stat
def handler(e, c):
    seen = {}
    for root, dirs, files in os.walk('/var/task'):
        for name in dirs + files:
            path = os.path.join(root, name)
            info = os.lstat(path)
            kind = 'l' if stat.S_ISLNK(info.st_mode) else 'd' if stat.S_ISDIR(info.st_mode) else 'f'
            seen[path[len('/var/task/'):]] = [kind, oct(info.st_mode & 0o7777)]
    try:
        open('/var/task/new', 'w')
        seen['written'] = True
    except OSError:
        pass
    return seen
";
    let bytes = zip(|zip| {
        let options = SimpleFileOptions::default();
        file(zip, "app.py", code);
        zip.add_directory("lib", options).unwrap();
        zip.start_file("lib/tool.sh", options.unix_permissions(0o4777)).unwrap();
        zip.write_all(b"#!/bin/sh\n").unwrap();
        zip.start_file("deep/er/secret.txt", options.unix_permissions(0o600)).unwrap();
        zip.write_all(b"s").unwrap();
        zip.add_symlink("lib/link", "../app.py", options).unwrap();
    });
    let (status, body) = create(world, &bytes);
    assert_eq!(status, 201, "{body}");
    let (seen, failed) = world.json("f", "{}");
    assert!(!failed, "{seen}");
    let expected = json!({
        "app.py": ["f", "0o644"], "lib": ["d", "0o755"], "lib/tool.sh": ["f", "0o755"], "deep": ["d", "0o755"],
        "deep/er": ["d", "0o755"], "deep/er/secret.txt": ["f", "0o644"], "lib/link": ["l", "0o777"],
    });
    assert_eq!(sorted(&seen), sorted(&expected));
    let mut flipped = zip(|zip| file(zip, "app.py", &b"x = 1\n".repeat(100)));
    let data = 30 + "app.py".len();
    flipped[data + 4] ^= 0xFF;
    let update = json!({ "ZipFile": base64(&flipped) });
    let (status, refused) = world.call("PUT", "/2015-03-31/functions/f/code", &update);
    assert_eq!((status, &refused["message"]), (400, &json!(UNREADABLE)), "a wrong sum");
    assert!(!world.json("f", "{}").1, "a damaged update leaves what was");
}

fn sorted(value: &Value) -> std::collections::BTreeMap<String, Value> {
    value.as_object().unwrap().iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}
