use proptest::prelude::*;

use super::*;

fn digest(n: u8) -> String {
    format!("sha256:{}", format!("{n:02x}").repeat(32))
}

fn descriptor(n: u8, media_type: &str) -> Value {
    json!({ "mediaType": media_type, "digest": digest(n), "size": 7 })
}

fn image() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(1, "application/vnd.oci.image.config.v1+json"),
        "layers": [descriptor(2, "application/vnd.oci.image.layer.v1.tar+gzip")],
    })
}

fn index() -> Value {
    json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor(3, OCI_MANIFEST)] })
}

fn read(document: &Value, content_type: Option<&str>) -> Result<Parsed, String> {
    parse(document.to_string().as_bytes(), content_type)
}

fn edited(mut document: Value, edit: impl FnOnce(&mut Map<String, Value>)) -> Value {
    edit(document.as_object_mut().unwrap());
    document
}

#[test]
fn images_and_indexes_name_what_they_need() {
    let parsed = read(&image(), Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8")).unwrap();
    let kinds: Vec<_> = parsed.references.iter().map(|r| (r.kind, r.size_bytes, r.is_foreign)).collect();
    assert_eq!(kinds, [(ReferenceKind::Config, 7, false), (ReferenceKind::Layer, 7, false)]);
    assert_eq!(parsed.shown_type(), Some("application/vnd.oci.image.config.v1+json"));
    let parsed = read(&index(), Some(OCI_INDEX)).unwrap();
    assert_eq!(parsed.references[0].kind, ReferenceKind::Manifest);
    assert_eq!(parsed.shown_type(), None);
}

#[test]
fn what_the_specification_leaves_open_is_accepted() {
    let accepted: Vec<(&str, Value)> = vec![
        ("unknown members", edited(image(), |d| drop(d.insert("x".into(), json!([1]))))),
        ("no layers", edited(image(), |d| drop(d.remove("layers")))),
        ("null layers", edited(image(), |d| drop(d.insert("layers".into(), Value::Null)))),
        ("no media type", edited(image(), |d| drop(d.remove("mediaType")))),
        ("an empty index", edited(index(), |d| drop(d.insert("manifests".into(), json!([]))))),
        (
            "a subject of any algorithm",
            edited(image(), |d| drop(d.insert("subject".into(), json!({"digest": "blake3:00"})))),
        ),
        ("data in a descriptor", edited(image(), |d| d["config"]["data"] = json!("e30="))),
        ("the same blob as config and layer", edited(image(), |d| d["layers"] = json!([descriptor(1, "x/y")]))),
    ];
    for (what, document) in accepted {
        assert!(read(&document, None).is_ok(), "{what}: {:?}", read(&document, None));
    }
    let artifact = json!({ "mediaType": OCI_ARTIFACT, "artifactType": "a/b", "blobs": [descriptor(1, "x/y")] });
    assert_eq!(read(&artifact, None).unwrap().references.len(), 1);
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let refused: Vec<(&str, Value)> = vec![
        ("another type than sent", edited(image(), |d| d["mediaType"] = json!(OCI_INDEX))),
        ("an image with manifests", edited(image(), |d| drop(d.insert("manifests".into(), json!([]))))),
        ("an index with layers", edited(index(), |d| drop(d.insert("layers".into(), json!([]))))),
        ("an index with a config", edited(index(), |d| drop(d.insert("config".into(), descriptor(1, "x"))))),
        ("schema 1", edited(image(), |d| d["schemaVersion"] = json!(1))),
        ("no schema", edited(image(), |d| drop(d.remove("schemaVersion")))),
        ("no config", edited(image(), |d| drop(d.remove("config")))),
        ("an unknown type", edited(image(), |d| d["mediaType"] = json!("text/plain"))),
        ("a malformed digest", edited(image(), |d| d["config"]["digest"] = json!("sha256:x"))),
        ("an unsupported digest", edited(image(), |d| d["config"]["digest"] = json!("md5:00"))),
        ("a negative size", edited(image(), |d| d["config"]["size"] = json!(-1))),
        (
            "two sizes of one blob",
            edited(image(), |d| {
                d["layers"] = json!([{ "mediaType": "x", "digest": digest(1), "size": 8 }]);
            }),
        ),
        (
            "too many layers",
            edited(image(), |d| d["layers"] = Value::from(vec![descriptor(2, "x"); MAX_DESCRIPTORS + 1])),
        ),
        ("layers that are no list", edited(image(), |d| d["layers"] = json!({}))),
        ("a malformed subject", edited(image(), |d| drop(d.insert("subject".into(), json!({"digest": "x"}))))),
    ];
    for (what, document) in refused {
        let sent = (what == "another type than sent").then_some(OCI_MANIFEST);
        assert!(read(&document, sent).is_err(), "{what}");
    }
    for bytes in [&b"[]"[..], b"", b"{", b"\"x\"", b"\xff", b"{} x"] {
        assert!(parse(bytes, Some(OCI_MANIFEST)).is_err());
    }
}

#[test]
fn foreign_layers_need_not_be_here() {
    let foreign = [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ];
    for media_type in foreign {
        let document = edited(image(), |d| d["layers"] = json!([descriptor(2, media_type)]));
        assert!(read(&document, None).unwrap().references[1].is_foreign, "{media_type}");
    }
}

#[test]
fn the_referrers_entry_keeps_annotations_and_leaves_out_what_is_not_there() {
    let document = edited(image(), |d| {
        d.insert("subject".into(), json!({ "digest": digest(9), "size": 1 }));
        d.insert("annotations".into(), json!({ "b": "1", "a": "2" }));
        d.insert("artifactType".into(), json!("a/b"));
    });
    let parsed = read(&document, None).unwrap();
    let manifest = parsed.into_manifest(digest(4).parse().unwrap(), 99, vec!["t".into()]);
    let expected = format!(
        "{{\"mediaType\":\"{OCI_MANIFEST}\",\"digest\":\"{}\",\"size\":99,\"artifactType\":\"a/b\",\"annotations\":{{\"b\":\"1\",\"a\":\"2\"}}}}",
        digest(4)
    );
    assert_eq!((manifest.descriptor, manifest.subject), (expected, Some(digest(9))));
    let index = edited(index(), |d| drop(d.insert("subject".into(), json!({ "digest": digest(9) }))));
    let manifest = read(&index, None).unwrap().into_manifest(digest(4).parse().unwrap(), 1, Vec::new());
    assert!(!manifest.descriptor.contains("artifactType") && !manifest.descriptor.contains("annotations"));
}

#[test]
fn annotations_describe_the_package() {
    let document = edited(image(), |d| {
        d.insert(
            "annotations".into(),
            json!({
                "org.opencontainers.image.description": " an image ",
                "org.opencontainers.image.licenses": "MIT",
                "org.opencontainers.image.source": "https://example.test/s",
                "org.opencontainers.image.url": 7,
            }),
        );
    });
    let facts = read(&document, None).unwrap().facts();
    assert_eq!(facts.description.as_deref(), Some("an image"));
    assert_eq!((facts.license.as_deref(), facts.homepage), (Some("MIT"), None));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in "\\PC{0,40}") {
        let _ = parse(&bytes, Some(&kind));
    }

    #[test]
    fn any_member_of_any_type_is_read_without_panic(
        key in "(config|layers|manifests|subject|annotations|artifactType|mediaType|schemaVersion|blobs)",
        value in prop_oneof![
            Just(json!(null)), Just(json!(1)), Just(json!("x")), Just(json!([])), Just(json!({})),
            Just(json!([null])), Just(json!([{}])), Just(json!([{"digest": 1}])), Just(json!({"digest": "sha256:", "size": 1.5})),
        ],
    ) {
        for document in [image(), index()] {
            let document = edited(document, |d| drop(d.insert(key.clone(), value.clone())));
            if let Ok(parsed) = read(&document, None) {
                let _ = (parsed.metadata(), parsed.facts());
            }
        }
    }
}
