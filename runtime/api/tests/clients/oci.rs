//! OCI clients and both conformance suites against a real server: the lines of "Done means" in
//! protocols/oci.md.
//!
//! [`Desk`] is a person's machine with the clients that `benches/services/oci-clients.sh` installed;
//! [`Wire`] speaks plain HTTP, for what no client can be made to do. Nothing leaves loopback.

mod access;
mod buildx;
mod collect;
mod conformance;
mod control;
mod crashes;
mod daemon;
mod delete;
mod desk;
mod docker;
mod go_tools;
mod held;
mod large;
mod late;
mod listing;
mod mount;
mod names;
mod podman;
mod resume;
mod upload;
mod wire;

pub use desk::Desk;
pub use wire::{Answer, Wire, sha256, sha512};

/// Bytes that no compression and no other test has.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // xorshift64: noise for tests, nothing more.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A layer: a tar archive of these files.
fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, *bytes).expect("a tar archive in memory");
    }
    archive.into_inner().expect("a tar archive in memory")
}

/// The file every scanner has to find, put together here so that this program does not hold it.
fn eicar() -> Vec<u8> {
    [&b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-"[..], b"STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat()
}
