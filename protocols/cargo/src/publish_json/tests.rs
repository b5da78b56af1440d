use proptest::prelude::*;
use publaryn_core::RegistryError;
use serde_json::{Value, json};

use super::*;

fn request() -> Value {
    json!({"name": "demo", "vers": "1.0.0", "deps": [], "features": {}, "description": "d", "license": "MIT"})
}

fn check(request: &Value) -> Result<CheckedCrate, RegistryError> {
    let own = OwnIndexes::new(["https://pkg.example"]);
    NewCrate::parse(request.to_string().as_bytes())?.check(&own, vec!["https://pkg.example".into()])
}

fn with(key: &str, value: Value) -> Value {
    let mut request = request();
    request[key] = value;
    request
}

fn refusal(request: &Value) -> String {
    check(request).expect_err(&request.to_string()).to_string()
}

#[test]
fn absent_and_null_keys_are_the_same() {
    let bare = check(&json!({"name": "demo", "vers": "1.0.0"})).unwrap();
    let nulls = json!({"name": "demo", "vers": "1.0.0", "deps": null, "features": null, "authors": null, "readme": null,
        "keywords": null, "categories": null, "badges": null, "links": null, "rust_version": null, "license": null, "other": 1});
    assert_eq!(bare.release, check(&nulls).unwrap().release);
}

#[test]
fn malformed_json_names_the_place() {
    let error = NewCrate::parse(br#"{"name":"demo","vers":"1.0.0","deps":[{"name":1}]}"#).unwrap_err().to_string();
    assert!(error.contains("deps[0].name") && error.contains("expected a string"), "{error}");
    for bad in [
        "",
        "[]",
        "{",
        r#"{"name":"demo"}"#,
        r#"{"name":"a","vers":"1.0.0"} x"#,
        r#"{"name":"a","name":"b","vers":"1.0.0"}"#,
    ] {
        let error = NewCrate::parse(bad.as_bytes()).unwrap_err();
        assert!(matches!(error, RegistryError::Malformed(_)), "{bad}");
    }
    let twice = br#"{"name":"a","vers":"1.0.0","features":{"x":[],"x":["y"]}}"#;
    assert!(NewCrate::parse(twice).unwrap_err().to_string().contains("duplicate feature `x`"));
}

#[test]
fn versions_are_strict_and_keep_their_build_metadata() {
    let checked = check(&with("vers", json!("1.0.0-rc.1+b2"))).unwrap();
    assert_eq!((checked.version.as_str(), checked.version.unique_key()), ("1.0.0-rc.1+b2", "1.0.0-rc.1"));
    for bad in ["", "1", "v1.0.0", "01.0.0", &format!("1.0.0-{}", "a".repeat(150))] {
        assert!(refusal(&with("vers", json!(bad))).starts_with("invalid version `"), "{bad}");
    }
}

#[test]
fn renames_are_swapped_and_self_references_dropped() {
    let deps = json!([
        {"name": "real", "explicit_name_in_toml": "alias", "version_req": "^1", "kind": "normal"},
        {"name": "own", "version_req": "^1", "registry": "sparse+https://pkg.example/cargo/index/auth/"},
        {"name": "public", "version_req": "^1", "registry": "https://github.com/rust-lang/crates.io-index"},
    ]);
    let deps = check(&with("deps", deps)).unwrap().release.deps;
    assert_eq!((deps[0].name.as_str(), deps[0].package.as_deref()), ("alias", Some("real")));
    assert_eq!((deps[1].name.as_str(), deps[1].registry.as_deref()), ("own", None));
    assert_eq!(deps[2].registry.as_deref(), Some("https://github.com/rust-lang/crates.io-index"));
}

#[test]
fn bad_dependencies_are_named() {
    let dep = |key: &str, value: Value| {
        let mut dep = json!({"name": "dep", "version_req": "^1", "kind": "normal"});
        dep[key] = value;
        with("deps", json!([dep]))
    };
    assert!(check(&dep("kind", json!("build"))).is_ok());
    for (key, value) in [
        ("name", json!("d ep")),
        ("explicit_name_in_toml", json!("1x")),
        ("version_req", json!("nope")),
        ("kind", json!("weird")),
        ("registry", json!("file:///etc")),
        ("registry", json!("https://user:secret@host.example/")),
        ("registry", json!("http://plain.example/index")),
        ("features", json!(["a b"])),
    ] {
        let text = refusal(&dep(key, value.clone()));
        assert!(text.starts_with("invalid dependency `d"), "{key} {value}: {text}");
        assert!(!text.contains("secret"), "{text}");
    }
    assert!(check(&dep("explicit_name_in_toml", json!("_x"))).is_ok());
    let many: Vec<_> = (0..501).map(|i| json!({"name": format!("d{i}"), "version_req": "1"})).collect();
    assert!(refusal(&with("deps", json!(many))).contains("more than 500 dependencies"));
}

#[test]
fn features_decide_the_schema() {
    let v = |features: Value| check(&with("features", features)).unwrap().release.v;
    assert_eq!(v(json!({"default": ["std"], "std": [], "x": ["dep-like/std"]})), 1);
    assert_eq!(v(json!({"x": ["dep:y"]})), 2);
    assert_eq!(v(json!({"x": ["y?/z"]})), 2);
    assert_eq!(v(json!({"ünï_1.2+x": []})), 1);
    for bad in [
        json!({"": []}),
        json!({"a b": []}),
        json!({"-x": []}),
        json!({"x": [""]}),
        json!({"x": ["dep:"]}),
        json!({"x": ["a/"]}),
        json!({"x": ["/b"]}),
        json!({"x": ["a/b/c"]}),
        json!({"x/y": []}),
    ] {
        assert!(refusal(&with("features", bad.clone())).contains("feature"), "{bad}");
    }
    let many: serde_json::Map<_, _> = (0..301).map(|i| (format!("f{i}"), json!([]))).collect();
    assert!(check(&with("features", Value::Object(many))).is_err());
    assert!(check(&with("features", json!({"x": vec!["y"; 301]}))).is_err());
}

#[test]
fn descriptive_fields_are_bounded() {
    assert!(refusal(&with("keywords", json!(["a", "b", "c", "d", "e", "f"]))).contains("at most 5 keywords"));
    for bad in ["", "-a", "ü", "a b", "aaaaaaaaaaaaaaaaaaaaa"] {
        assert!(refusal(&with("keywords", json!([bad]))).contains("invalid keyword"), "{bad}");
    }
    assert!(refusal(&with("categories", json!(["a", "b", "c", "d", "e", "f"]))).contains("at most 5 categories"));
    for bad in ["javascript:alert(1)", "file:///x", "ftp://x.example", "nope", "http://"] {
        assert!(refusal(&with("homepage", json!(bad))).contains("`homepage`"), "{bad}");
    }
    assert!(check(&with("homepage", json!(""))).unwrap().release.description.homepage.is_none());
    for bad in [">=1.60", "1.60.0.0", "1.x", "1.", "nightly"] {
        assert!(refusal(&with("rust_version", json!(bad))).contains("rust_version"), "{bad}");
    }
    let long = check(&with("readme", json!("é".repeat(400_000)))).unwrap().readme.unwrap();
    assert!(long.len() <= MAX_README_BYTES && long.chars().all(|c| c == 'é'));
}

#[test]
fn unknown_categories_badges_and_licences_only_warn() {
    let mut request = request();
    request["categories"] = json!(["wasm", "nonsense"]);
    request["badges"] = json!({"maintenance": {"status": "none"}, "foo": {}});
    request["license"] = json!("Whatever");
    let warnings = check(&request).unwrap().warnings;
    assert_eq!(warnings.invalid_categories, ["nonsense"]);
    assert_eq!(warnings.invalid_badges, ["foo"]);
    assert_eq!(warnings.other.len(), 1);
    for fine in ["MIT OR Apache-2.0", "MIT/Apache-2.0", "GPL-3.0"] {
        assert!(check(&with("license", json!(fine))).unwrap().warnings.other.is_empty(), "{fine}");
    }
}

proptest! {
    #[test]
    fn no_document_panics(text in "\\PC{0,80}") {
        if let Ok(new) = NewCrate::parse(text.as_bytes()) {
            new.check(&OwnIndexes::default(), vec![]).ok();
        }
    }

    /// Whatever a client puts where, it is accepted or refused in words; only what was sent is stored.
    #[test]
    fn no_value_in_any_place_breaks_the_check(key in field(), value in value()) {
        let mut request = request();
        request[key] = value.clone();
        let mut nested = self::request();
        nested["deps"] = json!([{"name": "dep", "version_req": "1", key: value.clone()}]);
        let mut deep = self::request();
        deep["features"] = json!({ "x": value });
        for request in [request, nested, deep] {
            match check(&request) {
                Ok(checked) => {
                    prop_assert_eq!(checked.release.name.as_str(), request["name"].as_str().unwrap_or_default());
                    prop_assert_eq!(checked.release.vers.as_str(), request["vers"].as_str().unwrap_or_default());
                    prop_assert!(serde_json::to_string(&checked.release).is_ok());
                }
                Err(RegistryError::Malformed(_) | RegistryError::Invalid { .. }) => {}
                Err(other) => prop_assert!(false, "{:?}", other),
            }
        }
    }

    #[test]
    fn versions_keep_their_text_and_drop_the_build_from_their_identity(text in "\\PC{0,20}|[0-9]{1,3}(\\.[0-9]{1,3}){1,3}(-[a-z0-9.]{1,8})?(\\+[a-z0-9.]{1,8})?") {
        if let Ok(version) = parse_version(&text) {
            prop_assert_eq!(version.as_str(), text.as_str());
            prop_assert!(!version.unique_key().contains('+'));
            prop_assert!(text.starts_with(version.unique_key()));
        }
    }
}

fn field() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "name",
        "vers",
        "deps",
        "features",
        "authors",
        "description",
        "homepage",
        "readme",
        "keywords",
        "categories",
        "license",
        "badges",
        "links",
        "rust_version",
        "version_req",
        "target",
        "kind",
        "registry",
        "optional",
        "default_features",
        "explicit_name_in_toml",
        "artifact",
        "lib",
    ])
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "[a-z0-9.:/?+-]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::vec(("[a-z:/?]{0,6}", inner), 0..3)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}
