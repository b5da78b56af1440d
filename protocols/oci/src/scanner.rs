//! What looks at OCI content in the scanner processes: manifests, and layers as streams.
//!
//! A layer is somebody's file system: absolute paths, links out of it and whiteouts are normal there, so
//! of the archive rules only bombs block (scanning.md §3a, OCI layers). Everything else is noted.

use std::{
    cell::Cell,
    io::{self, BufReader, Read},
    rc::Rc,
};

use publaryn_core::{
    ArtifactKind, Ecosystem,
    finding::{Category, Severity},
};
use publaryn_scan::{Findings, ScanError, ScanInput, ScanJob, Scanner};
use serde::{
    Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// Judges manifests: what the upload let through may still be read in two ways.
#[derive(Debug, Clone, Copy, Default)]
pub struct ManifestScanner;

impl Scanner for ManifestScanner {
    fn id(&self) -> &'static str {
        "oci-manifest"
    }
    fn version(&self) -> u32 {
        1
    }
    fn applies(&self, job: &ScanJob) -> bool {
        job.ecosystem == Ecosystem::Oci && job.artifact.kind == ArtifactKind::OciManifest
    }
    fn scan(&self, _: &ScanJob, input: &dyn ScanInput, out: &mut Findings) -> Result<(), ScanError> {
        let mut bytes = Vec::new();
        input.open()?.read_to_end(&mut bytes)?;
        if let Some(key) = repeated_key(&bytes) {
            let title = format!("the manifest has `{key}` twice, and readers disagree about which one counts");
            out.add("META-OCI-KEYS", Category::MetadataMismatch, Severity::High, title, "");
        }
        Ok(())
    }
}

/// The first member that stands twice in one object. Go's readers, which most clients are written with,
/// also take another case for the same member.
fn repeated_key(bytes: &[u8]) -> Option<String> {
    let mut found = None;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    // A document that cannot be read was refused at upload.
    let _ = Unique(&mut found).deserialize_from(&mut reader);
    found
}

/// Walks a document and remembers the first member it meets twice.
struct Unique<'a>(&'a mut Option<String>);

impl Unique<'_> {
    fn deserialize_from<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

struct Nested<'a>(&'a mut Option<String>);

impl<'de> serde::de::DeserializeSeed<'de> for Nested<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        Unique(self.0).deserialize_from(deserializer)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Nested(self.0))?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = std::collections::HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key.to_lowercase()) && self.0.is_none() {
                *self.0 = Some(key.chars().take(64).collect());
            }
            if self.0.is_some() {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(Nested(self.0))?;
            }
        }
        Ok(())
    }
}

/// Judges layers and whatever else is pushed as a blob.
#[derive(Debug, Clone, Copy, Default)]
pub struct LayerScanner;

impl Scanner for LayerScanner {
    fn id(&self) -> &'static str {
        "oci-layer"
    }
    fn version(&self) -> u32 {
        1
    }
    fn applies(&self, job: &ScanJob) -> bool {
        job.ecosystem == Ecosystem::Oci && job.artifact.kind == ArtifactKind::OciLayer
    }
    fn scan(&self, _: &ScanJob, input: &dyn ScanInput, out: &mut Findings) -> Result<(), ScanError> {
        let mut head = [0; 512];
        let length = fill(&mut *input.open()?, &mut head)?;
        let form = Form::of(&head[..length]);
        let consumed = Rc::new(Cell::new(0));
        let counted = Counted { inner: input.open()?, count: consumed.clone() };
        let plain: Box<dyn Read + '_> = match form {
            Form::Gzip => Box::new(flate2::read::MultiGzDecoder::new(counted)),
            Form::Zstd => match zstd::stream::read::Decoder::new(counted) {
                Ok(decoder) => Box::new(decoder),
                Err(error) => return note_unreadable(out, &error),
            },
            Form::Tar | Form::Opaque => Box::new(counted),
        };
        let produced = Rc::new(Cell::new(0));
        let mut plain =
            Guarded { inner: BufReader::with_capacity(64 << 10, plain), consumed, produced: produced.clone() };
        let ended = match form {
            Form::Opaque => search(&mut plain, "", out).map(drop),
            _ => search_archive(&mut plain, out),
        };
        match ended {
            Ok(()) => Ok(()),
            Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<Stop>()) {
                Some(Stop::Bomb) => {
                    let title = format!("a layer unpacks to more than {MAX_RATIO} times its size");
                    out.add("ARC-B1", Category::ArchiveLimit, Severity::High, title, "");
                    Ok(())
                }
                Some(Stop::Enough) => {
                    let title = format!("only the first {MAX_UNPACKED_BYTES} unpacked bytes of a layer were looked at");
                    out.add("OCI-UNSCANNED", Category::ArchiveLimit, Severity::Info, title, "");
                    Ok(())
                }
                None => note_unreadable(out, &error),
            },
        }
    }
}

/// Unpacked to packed bytes, once more than [`RATIO_FROM_BYTES`] were unpacked (scanning.md §3a B1).
const MAX_RATIO: u64 = 50;
const RATIO_FROM_BYTES: u64 = 64 << 20;
/// Unpacked bytes that are looked at (scanning.md §4). More is no crime in a layer: it is noted.
const MAX_UNPACKED_BYTES: u64 = 2 << 30;
/// Entries that are looked at.
const MAX_ENTRIES: u64 = 200_000;

/// Layers that no tar reader understands are for their consumers to refuse; what is in them is still bytes
/// that were searched as far as they could be read.
fn note_unreadable(out: &mut Findings, error: &io::Error) -> Result<(), ScanError> {
    let title = format!("a layer could not be read to its end: {error}");
    out.add("ARC-T2", Category::ArchiveUnsafe, Severity::Low, title, "");
    Ok(())
}

fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

/// What the first bytes say a blob is; media types are only words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Gzip,
    Zstd,
    Tar,
    Opaque,
}

impl Form {
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            head if head.get(257..262) == Some(b"ustar") => Self::Tar,
            _ => Self::Opaque,
        }
    }
}

/// Why reading was ended on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Bomb,
    Enough,
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped")
    }
}
impl std::error::Error for Stop {}

struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count.set(self.count.get() + n as u64);
        Ok(n)
    }
}

/// Unpacked bytes, within limits.
struct Guarded<R> {
    inner: R,
    consumed: Rc<Cell<u64>>,
    produced: Rc<Cell<u64>>,
}

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let produced = self.produced.get() + n as u64;
        self.produced.set(produced);
        if produced > RATIO_FROM_BYTES && produced / MAX_RATIO > self.consumed.get() {
            return Err(io::Error::other(Stop::Bomb));
        }
        if produced > MAX_UNPACKED_BYTES {
            return Err(io::Error::other(Stop::Enough));
        }
        Ok(n)
    }
}

fn search_archive(plain: &mut impl Read, out: &mut Findings) -> io::Result<()> {
    let mut archive = tar::Archive::new(plain);
    for (n, entry) in archive.entries()?.enumerate() {
        if n as u64 >= MAX_ENTRIES {
            return Err(io::Error::other(Stop::Enough));
        }
        let mut entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if path.split('/').any(|part| part == "..") {
            out.add("ARC-Z3", Category::ArchiveUnsafe, Severity::Low, "a path climbs out of the layer", &path);
        }
        search(&mut entry, &path, out)?;
    }
    Ok(())
}

/// The test file every scanner has to find, put together here so that this program does not hold it.
/// Source: <https://www.eicar.org/download-anti-malware-testfile/>
fn test_signature() -> Vec<u8> {
    [&b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-"[..], b"STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat()
}

/// Looks for known-bad content in a file of any length, in constant memory.
fn search(reader: &mut impl Read, path: &str, out: &mut Findings) -> io::Result<()> {
    let signature = test_signature();
    let overlap = signature.len() - 1;
    let mut window = vec![0; 64 << 10];
    let mut held = 0;
    loop {
        let n = reader.read(&mut window[held..])?;
        if n == 0 {
            return Ok(());
        }
        let end = held + n;
        if contains(&window[..end], &signature) {
            let title = "contains the EICAR anti-malware test file";
            out.add("MAL-SIG-EICAR", Category::MalwareSignature, Severity::Critical, title, path);
            return io::copy(reader, &mut io::sink()).map(drop);
        }
        let keep = overlap.min(end);
        window.copy_within(end - keep..end, 0);
        held = keep;
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let first = needle[0];
    let mut rest = haystack;
    while let Some(at) = rest.iter().position(|b| *b == first) {
        rest = &rest[at..];
        if rest.starts_with(needle) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use publaryn_core::{ArtifactId, Digest, finding::Finding};
    use publaryn_scan::{ScanArtifact, corpus};

    use super::*;

    fn job(kind: ArtifactKind) -> ScanJob {
        ScanJob {
            ecosystem: Ecosystem::Oci,
            package: String::new(),
            version: String::new(),
            artifact: ScanArtifact {
                id: ArtifactId::new(),
                kind,
                filename: "x".into(),
                sha256: Digest::from_bytes([0; 32]),
                size_bytes: 0,
            },
            metadata: serde_json::Value::Null,
        }
    }

    fn layer(bytes: Vec<u8>) -> Vec<Finding> {
        let mut out = Findings::new();
        LayerScanner.scan(&job(ArtifactKind::OciLayer), &bytes, &mut out).unwrap();
        out.into_vec()
    }

    fn rules(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.rule_id.as_str()).collect()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).unwrap()
    }

    #[test]
    fn known_bad_content_is_found_in_every_form() {
        let bad = test_signature();
        let mut long = vec![b'X'; 70_000];
        long.extend_from_slice(&bad);
        let tar = |content: &[u8]| corpus::tar(&[("etc/motd", b"hello"), ("usr/bin/bad", content)]).finish();
        for (what, bytes) in [
            ("plain", bad.clone()),
            ("far inside a blob", long.clone()),
            ("tar", tar(&bad)),
            ("tar.gz", corpus::targz(&[("usr/bin/bad", &long)])),
            ("tar.zst", zstd(&tar(&long))),
        ] {
            let findings = layer(bytes);
            assert_eq!(rules(&findings), ["MAL-SIG-EICAR"], "{what}");
            assert_eq!(findings[0].severity, Severity::Critical);
        }
        assert_eq!(layer(tar(&bad))[0].location, "usr/bin/bad");
    }

    #[test]
    fn honest_layers_have_no_findings() {
        let whiteouts = corpus::tar(&[("a/.wh.b", b""), ("a/.wh..wh..opq", b"")]).special(b'2', "bin", "/usr/bin");
        for bytes in [Vec::new(), b"{}".to_vec(), vec![0; 100_000], whiteouts.targz()] {
            assert_eq!(layer(bytes), []);
        }
    }

    #[test]
    fn bombs_block_and_damage_is_noted() {
        let zeros = vec![0; (RATIO_FROM_BYTES + (1 << 20)) as usize];
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&corpus::tar(&[("zeros", &zeros)]).finish()).unwrap();
        let findings = layer(gzip.finish().unwrap());
        assert_eq!((rules(&findings), findings[0].severity), (vec!["ARC-B1"], Severity::High));
        let mut cut = corpus::targz(&[("a", &[7; 5000])]);
        cut.truncate(cut.len() - 20);
        let findings = layer(cut);
        assert_eq!((rules(&findings), findings[0].severity), (vec!["ARC-T2"], Severity::Low));
    }

    #[test]
    fn members_that_stand_twice_are_found() {
        for (text, wanted) in [
            ("{\"a\":1,\"b\":{\"a\":1}}", None),
            ("{\"a\":1,\"a\":2}", Some("a")),
            ("{\"layers\":[],\"Layers\":[]}", Some("Layers")),
            ("{\"a\":[{\"x\":1,\"x\":{}}]}", Some("x")),
            ("nonsense", None),
        ] {
            assert_eq!(repeated_key(text.as_bytes()).as_deref(), wanted, "{text}");
        }
        let mut out = Findings::new();
        let bytes = b"{\"config\":1,\"config\":2}".to_vec();
        ManifestScanner.scan(&job(ArtifactKind::OciManifest), &bytes, &mut out).unwrap();
        assert_eq!(rules(&out.into_vec()), ["META-OCI-KEYS"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_scanned_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000), form in 0u8..4) {
            let mut bytes = bytes;
            let magic: &[u8] = match form { 0 => &[0x1f, 0x8b, 8], 1 => &[0x28, 0xb5, 0x2f, 0xfd], _ => &[] };
            bytes.splice(0..0, magic.iter().copied());
            let _ = layer(bytes.clone());
            let _ = repeated_key(&bytes);
        }

        #[test]
        fn the_signature_is_found_wherever_it_lies(before in 0usize..140_000, after in 0usize..1000) {
            let mut bytes = vec![b'.'; before];
            bytes.extend(test_signature());
            bytes.extend(std::iter::repeat_n(b'.', after));
            let found = layer(bytes);
            prop_assert_eq!(rules(&found), ["MAL-SIG-EICAR"]);
        }
    }
}
