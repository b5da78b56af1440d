//! Gems packed by hand, so that they can be wrong.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};

/// The parts of a gem.
#[derive(Debug, Clone)]
pub struct Packed {
    pub spec: String,
    /// Paths and contents of `data.tar.gz`.
    pub files: Vec<(String, Vec<u8>)>,
    /// A symbolic link in it: path and target.
    pub link: Option<(String, String)>,
    pub data: Option<Vec<u8>>,
    pub has_metadata: bool,
    /// What the checksums say of `data.tar.gz`.
    pub checksum: Option<String>,
    /// Further members of the outer archive.
    pub further: Vec<(String, Vec<u8>)>,
}

impl Packed {
    pub fn new(name: &str, version: &str) -> Self {
        let spec = format!(
            "--- !ruby/object:Gem::Specification\nname: {name}\nversion: !ruby/object:Gem::Version\n  version: {version}\n\
             platform: ruby\nauthors:\n- Ada\nbindir: bin\ndate: 2026-01-02 00:00:00.000000000 Z\ndependencies: []\n\
             email: ada@example.test\nexecutables: []\nextensions: []\nfiles:\n- lib/{name}.rb\nlicenses:\n- MIT\n\
             metadata: {{}}\nrequire_paths:\n- lib\nrubygems_version: 3.3.15\nspecification_version: 4\nsummary: s\n"
        );
        Self {
            spec,
            files: vec![(format!("lib/{name}.rb"), b"X = 1\n".to_vec())],
            link: None,
            data: None,
            has_metadata: true,
            checksum: None,
            further: Vec::new(),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let data = self.data.clone().unwrap_or_else(|| gzip(&self.data_tar()));
        let metadata = gzip(self.spec.as_bytes());
        let sum = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
        let said = self.checksum.clone().unwrap_or_else(|| sum(&data));
        let checksums = format!("---\nSHA256:\n  metadata.gz: {}\n  data.tar.gz: {said}\n", sum(&metadata));
        let mut members = Vec::new();
        if self.has_metadata {
            members.push(("metadata.gz".to_owned(), metadata));
        }
        members.push(("data.tar.gz".to_owned(), data));
        if self.has_metadata {
            members.push(("checksums.yaml.gz".to_owned(), gzip(checksums.as_bytes())));
        }
        members.extend(self.further.iter().cloned());
        tar(&members, None)
    }

    fn data_tar(&self) -> Vec<u8> {
        tar(&self.files, self.link.as_ref())
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn tar(files: &[(String, Vec<u8>)], link: Option<&(String, String)>) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, content) in files {
        let kind = if path.ends_with('/') { b'5' } else { b'0' };
        out.extend(header(path, content.len(), kind, ""));
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    if let Some((path, target)) = link {
        out.extend(header(path, 0, b'2', target));
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// A ustar header, which takes any path.
fn header(path: &str, size: usize, kind: u8, target: &str) -> [u8; 512] {
    let mut block = [0; 512];
    block[..path.len()].copy_from_slice(path.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..124].copy_from_slice(b"0000000\x000000000\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000000\0");
    block[148..156].fill(b' ');
    block[156] = kind;
    block[157..157 + target.len()].copy_from_slice(target.as_bytes());
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
