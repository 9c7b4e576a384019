//! Documents as builders write them, and those that are refused.

use super::*;

const SUM: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn manifest(config: &str, layer: &str, size: u64) -> String {
    format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"{config}","digest":"{SUM}","size":9}},
        "layers":[{{"mediaType":"{layer}","digest":"{SUM}","size":{size}}}]}}"#
    )
}

#[test]
fn both_families_of_names() {
    for (kind, config, layer, compression) in [
        (MANIFESTS[0], CONFIGS[0], LAYERS[1].0, Compression::Gzip),
        (MANIFESTS[0], CONFIGS[0], LAYERS[2].0, Compression::Zstd),
        (MANIFESTS[1], CONFIGS[1], LAYERS[3].0, Compression::Gzip),
    ] {
        let text = manifest(config, layer, 7);
        match Document::parse(text.as_bytes(), Some(kind)).unwrap() {
            Document::Manifest(manifest) => {
                assert_eq!(manifest.layers[0].1, compression);
                assert_eq!((manifest.config.size, manifest.layers[0].0.size), (9, 7));
            }
            Document::Index(_) => panic!("a manifest"),
        }
    }
}

#[test]
fn what_is_not_supported() {
    let refused =
        |text: &str, kind: &str| Document::parse(text.as_bytes(), Some(kind)).unwrap_err();
    let good = manifest(CONFIGS[0], LAYERS[1].0, 7);
    assert!(matches!(refused(&good, "application/vnd.oci.artifact"), Error::Unsupported(_)));
    assert!(matches!(refused(&good, INDEXES[0]), Error::Unsupported(_)));
    assert!(matches!(refused("{}", MANIFESTS[0]), Error::Unsupported(_)));
    assert!(matches!(refused("[", MANIFESTS[0]), Error::Invalid(_)));
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let foreign = manifest(CONFIGS[0], foreign, 7);
    assert!(matches!(refused(&foreign, MANIFESTS[0]), Error::Unsupported(_)));
    let helm = manifest("application/vnd.cncf.helm.config.v1+json", LAYERS[1].0, 7);
    assert!(matches!(refused(&helm, MANIFESTS[0]), Error::Unsupported(_)));
    let large = manifest(CONFIGS[0], LAYERS[1].0, COMPRESSED_BYTES_MAX + 1);
    assert!(matches!(refused(&large, MANIFESTS[0]), Error::TooLarge));
    let other_sum = good.replace("sha256:", "sha512:");
    assert!(matches!(refused(&other_sum, MANIFESTS[0]), Error::Unsupported(_)));
}

#[test]
fn the_one_for_this_machine() {
    let one = |architecture: &str, digit: char| {
        let digest = format!("sha256:{}", digit.to_string().repeat(64));
        format!(
            r#"{{"mediaType":"{}","digest":"{digest}","size":1,
            "platform":{{"architecture":"{architecture}","os":"linux"}}}}"#,
            MANIFESTS[0]
        )
    };
    let index = |entries: &[String]| {
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
        match Document::parse(text.as_bytes(), Some(INDEXES[0])).unwrap() {
            Document::Index(index) => index,
            Document::Manifest(_) => panic!("an index"),
        }
    };
    let all = index(&[one("unknown", '1'), one("s390x", '2'), one(architecture(), '3')]);
    assert_eq!(all.for_this_machine().unwrap().digest.hex(), "3".repeat(64));
    let none = index(&[one("unknown", '1'), one("s390x", '2')]);
    assert!(matches!(none.for_this_machine(), Err(Error::Unsupported(_))));
}

#[test]
fn configurations() {
    let text = format!(
        r#"{{"architecture":"{}","os":"linux","config":{{"Env":["PATH=/bin","A=b=c","odd"],
        "Entrypoint":["/e"],"Cmd":["c"],"WorkingDir":"/w","User":"0"}},
        "rootfs":{{"type":"layers","diff_ids":["{SUM}"]}}}}"#,
        architecture()
    );
    let config = Config::parse(text.as_bytes(), 1).unwrap();
    assert_eq!(config.process.entry_point, ["/e"]);
    assert_eq!(config.process.command, ["c"]);
    assert_eq!(config.process.working_directory, "/w");
    let env = [("PATH", "/bin"), ("A", "b=c")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(config.process.environment, env);
    assert!(matches!(Config::parse(text.as_bytes(), 2), Err(Error::Invalid(_))));
    let other = text.replace(architecture(), "s390x");
    assert!(matches!(Config::parse(other.as_bytes(), 1), Err(Error::Unsupported(_))));
    let long = text.replace("\"c\"", &format!("\"{}\"", "c".repeat(PROCESS_BYTES_MAX)));
    assert!(matches!(Config::parse(long.as_bytes(), 1), Err(Error::Unsupported(_))));
    let empty = format!(
        r#"{{"architecture":"{}","os":"linux","rootfs":{{"diff_ids":[]}}}}"#,
        architecture()
    );
    assert_eq!(Config::parse(empty.as_bytes(), 0).unwrap().process, Process::default());
}
